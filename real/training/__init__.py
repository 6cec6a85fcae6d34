"""What the embedded models are built from and with: text by domain, generated tasks, fitting, measuring, prompts."""
