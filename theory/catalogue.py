"""Every bound as data: what it needs, where it is from, which test would fail if it were false, where it is loose.

The formula stands once, as the first line of the function in ``theory/bounds.py``; ``python -m theory bounds`` prints
all together. The game in which a bound is tightest is in ``theory/checker/worst.py``.
"""

from dataclasses import dataclass
from inspect import getdoc, signature

from theory import bounds


@dataclass(frozen=True)
class Bound:
    """One bound.

    Attributes:
        name: its function in ``theory.bounds``.
        given: the hypotheses.
        source: paper and theorem; *derived* where statement or constants were found nowhere in print.
        tests: ``file::test`` under ``tests/theory``, the first one the nearest to the theorem.
        slack: why no game comes within 5 %, or what the games that do have in common.
    """

    name: str
    given: str
    source: str
    tests: tuple[str, ...]
    slack: str = ""

    @property
    def function(self) -> str:
        """Its dotted path."""
        return f"{bounds.__name__}.{self.name}"

    @property
    def statement(self) -> str:
        """The first line of the function's docstring: the formula."""
        return (getdoc(getattr(bounds, self.name)) or "").partition("\n")[0]

    @property
    def constants(self) -> tuple[str, ...]:
        """What the function asks for."""
        return tuple(signature(getattr(bounds, self.name)).parameters)


G = "convex losses, ‖∇f_t‖ ≤ G"
SMOOTH = "convex losses, L-smooth on R^d"
FEW = "two experts or more, uniform prior"
ANY_LOSS = "losses of one number an expert; any prior"
BOTH_HALVES = "it adds a bound of the base to one of the meta learner, and no game found is worst for both at once"
SLOWLY = "reached as T grows only: D²/(2η_T) asks that x stays a diameter away while η is still large"
ONE_BASE = "with one base, whose step is short; with the whole grid and its prior 0.37 was found"

BOUNDS: dict[str, Bound] = {bound.name: bound for bound in (
    Bound(
        "proximal", "convex losses; OGD or optimistic OGD, η_t non-increasing",
        "Rakhlin & Sridharan 2013, Lemma 1; moving comparators derived",
        ("test_bounds.py::test_ogd_attains_the_sharp_bound_exactly",
         "test_bounds.py::test_optimistic_regret_is_within_the_sharp_bound"),
    ),
    Bound(
        "ogd", "convex losses; OGD, constant η", "Zinkevich 2003, Theorem 2; constants derived",
        ("test_bounds.py::test_ogd_regret_is_within_the_sharp_bound",),
    ),
    Bound(
        "ogd_oracle", f"{G}; OGD, η = √A_T/(G√T)", "Zinkevich 2003, Theorem 2; constants derived",
        ("checker/test_tightness.py::test_orthogonal_gradients_attain_the_oracle_bound_exactly",
         "test_bounds.py::test_ogd_regret_is_within_the_sharp_bound"),
        "for a fixed comparator; moves cost D·P_T on a ball, not 2D·P_T (``ogd_centred``)",
    ),
    Bound(
        "ogd_centred", f"{G}; a set with a centre; OGD, η = √(D² + D·P_T)/(G√T)", "derived",
        ("test_bounds.py::test_half_the_path_is_attained_on_a_centred_set",),
    ),
    Bound(
        "ogd_untuned", f"{G}; OGD, η = D/(G√T)", "Zinkevich 2003, Theorem 2; constants derived",
        ("test_bounds.py::test_tuned_forms_are_the_plain_ones_at_their_best_step",),
    ),
    Bound(
        "ogd_inverse_sqrt", f"{G}; OGD, η_t = D/(G√t)", "Zinkevich 2003, Theorems 1 and 2; constants derived",
        ("learners/test_gradient_learners.py::test_guarantees_of_changing_steps",), SLOWLY,
    ),
    Bound(
        "ogd_adagrad_norm", "convex losses; OGD, η_t = D/√(Σ_{s≤t}‖∇f_s‖²)",
        "Streeter & McMahan 2010; constants derived",
        ("learners/test_gradient_learners.py::test_guarantees_of_changing_steps",), SLOWLY,
    ),
    Bound(
        "zinkevich", f"{G}; OGD, constant η", "Zinkevich 2003, Theorem 2",
        ("test_bounds.py::test_ogd_regret_is_within_the_sharp_bound",),
        "where ηTG²/2 is nearly all of it; its first term is 7/2 of the one that ``ogd`` has",
    ),
    Bound(
        "ogd_chunked", f"{G}; OGD, one step per b rounds; comparators constant in between",
        "Dekel et al. 2012 for mini-batches; constants derived",
        ("learners/test_wrappers.py::test_chunks_promise_the_root_of_the_chunk",),
    ),
    Bound(
        "chunked", "convex losses; any learner inside, one update per b rounds", "derived",
        ("learners/test_wrappers.py::test_chunked_regret_is_within_its_bound",),
    ),
    Bound(
        "ogd_delayed", "convex losses; OGD, constant η, gradients d rounds late",
        "Langford, Smola & Zinkevich 2009, Theorem 1; constants derived",
        ("learners/test_wrappers.py::test_delayed_regret_is_within_its_bound",),
    ),
    Bound(
        "ogd_delayed_oracle", f"{G}; OGD, η = √(A_T/((2d+1)T))/G, gradients d rounds late",
        "Langford, Smola & Zinkevich 2009, Theorem 1; constants derived",
        ("learners/test_wrappers.py::test_a_priori_bounds_of_delayed_ogd",),
        "reached as T grows only: the first d gradients of a direction meet no step against them",
    ),
    Bound(
        "ogd_small_loss", f"{SMOOTH}; OGD, η ≤ 1/(2L)", "Srebro, Sridharan & Tewari 2010; constants derived",
        ("test_bounds.py::test_small_loss_bound",),
        "for short steps; at η = 1/(4L) ``ogd_smooth`` is two thirds of it, and so is what was found",
    ),
    Bound(
        "ogd_small_loss_tuned", f"{SMOOTH}; OGD, η = min{{1/(2L), ½√(A_T/(L·F_T))}}",
        "Srebro, Sridharan & Tewari 2010; constants derived", ("test_bounds.py::test_small_loss_bound",),
        "never attained: at the same step ``ogd_smooth`` is at most 3/4 of it",
    ),
    Bound(
        "ogd_realisable", f"{SMOOTH}, F_T = 0; OGD, η = 1/(2L)", "Srebro, Sridharan & Tewari 2010; constants derived",
        ("test_bounds.py::test_realisable_bound_needs_only_the_smoothness",),
        "never above 1/2: at the same step ``ogd_smooth`` is half of it, and that is nearly reached",
    ),
    Bound(
        "ogd_smooth", f"{SMOOTH}; OGD, η < 1/L", "derived; co-coercivity: Nesterov 2004, Theorem 2.1.5",
        ("test_smooth_losses.py::test_the_smooth_bound_is_attained_in_every_round_and_for_any_path",),
    ),
    Bound(
        "ogd_smooth_tuned", f"{SMOOTH}; OGD, η = 1/(L + √(2L·F_T/A_T))", "derived",
        ("test_smooth_losses.py::test_the_tuned_form_is_the_least_of_the_plain_ones",),
    ),
    Bound(
        "ogd_smooth_realisable", f"{SMOOTH}, F_T = 0; OGD, η = 1/L", "derived",
        ("test_smooth_losses.py::test_the_realisable_bound_is_an_equality_at_the_inverse_of_the_smoothness",),
    ),
    Bound(
        "strongly_convex_distance", "λ-strongly convex, L-smooth; u_t = argmin_X f_t; OGD, η = 2/(λ+L)",
        "Mokhtari et al. 2016, Theorem 1; contraction: Nesterov 2004, Theorem 2.1.12",
        ("learners/test_tracking.py::test_tracking_attains_its_bound_on_a_line",),
    ),
    Bound(
        "strongly_convex_regret", f"{G}; u_t = argmin_X f_t", "Mokhtari et al. 2016, Corollary 1",
        ("learners/test_tracking.py::test_tracking_stays_near_the_minimisers",),
        "where losses are nearly linear; ½ for a quadratic whose center is in X",
    ),
    Bound(
        "optimistic_moving", "convex losses; optimistic OGD, constant η",
        "Rakhlin & Sridharan 2013, Lemma 1; moving comparators derived",
        ("learners/test_gradient_learners.py::test_the_bound_with_its_movement_is_attained",),
    ),
    Bound(
        "optimistic_oracle", "convex losses; optimistic OGD, η = √(A_T/δ_T)",
        "Rakhlin & Sridharan 2013, Lemma 1; constants derived",
        ("test_bounds.py::test_tuned_forms_are_the_plain_ones_at_their_best_step",),
        "without a hint; a hint that moves x pays −Σ‖x_t − x̂_t‖²/(2η), which is left out",
    ),
    Bound(
        "optimistic_self_confident", f"{G}, ‖hint_t‖ ≤ G; optimistic OGD, η_t = D/√(4G² + δ_{{t−1}})",
        "Rakhlin & Sridharan 2013, Lemma 1 and Corollary 2; constants derived",
        ("test_bounds.py::test_self_confident_regret_is_within_its_bounds",),
        f"without a hint, {SLOWLY}; with the last gradient 0.72 was found, as −Σ‖x_t − x̂_t‖²/(2η_t) is left out",
    ),
    Bound(
        "optimistic_variation", f"{G}, L-smooth; optimistic OGD, last gradient as hint, η ≤ 1/(4L)",
        "Chiang et al. 2012; constants derived",
        ("test_bounds.py::test_gradient_variation_bound_of_the_last_gradient_hint",),
        "where A_T/(2η) is nearly all of it",
    ),
    Bound(
        "optimistic_variation_tuned", f"{G}, L-smooth; optimistic OGD, last gradient as hint, best η ≤ 1/(4L)",
        "Chiang et al. 2012; constants derived",
        ("test_bounds.py::test_gradient_variation_bound_of_the_last_gradient_hint",),
        "‖g_t − g_{t−1}‖² is doubled to leave V_T for L-smooth losses, in the first round too, which alone gives 1/√2",
    ),
    Bound(
        "coin_betting", "convex losses, ‖∇f_t‖ ≤ G; fixed comparators; coin betting", "Orabona & Pál 2016, Corollary 5",
        ("learners/test_coin_betting.py::test_coin_betting_regret_is_within_its_bounds",),
        "at u = x_1; 0.79 was found a diameter away, where the largest x is bounded and not computed",
    ),
    Bound(
        "coin_betting_wealth", "convex losses, ‖∇f_t‖ ≤ G; fixed comparators; coin betting",
        "Orabona & Pál 2016, Lemma 1",
        ("learners/test_coin_betting.py::test_coin_betting_regret_is_within_its_bounds",),
    ),
    Bound(
        "relative_entropy", "linear losses; exponential weights; a fixed mixture as comparator",
        "Kivinen & Warmuth 1997; Cesa-Bianchi & Lugosi 2006, Theorem 11.3",
        ("test_mixture_tv.py::test_the_last_weights_attain_the_bound_exactly",),
    ),
    Bound(
        "hedge", f"{ANY_LOSS}; exponential weights, constant ε", "de Rooij et al. 2014, Lemma 1",
        ("test_identities.py::test_the_mix_loss_telescopes",
         "learners/test_expert_learners.py::test_ln_n_is_attained_at_any_horizon"),
    ),
    Bound(
        "hedge_apriori", f"{FEW}; losses of range c; ε = √(8 ln N/(Tc²))", "Cesa-Bianchi & Lugosi 2006, Theorem 2.2",
        ("test_bounds.py::test_hedge_bounds_are_nearly_attained",),
    ),
    Bound(
        "mixture_rounds", f"{FEW}; TV of mixtures; weights frozen for at most n positions; ε = √(8 ln N/(nT))",
        "derived",
        ("test_mixture_tv.py::test_the_bound_of_frozen_rounds_is_nearly_attained",),
    ),
    Bound(
        "routing", f"{FEW}; TV of drafts in [0, 1]; ``hedge_apriori``'s ε",
        "Cesa-Bianchi & Lugosi 2006, Theorem 2.2, over T",
        ("learners/test_expert_learners.py::test_routing_rejects_little_more_than_the_best_draft",),
    ),
    Bound(
        "adahedge", f"{ANY_LOSS}; AdaHedge", "de Rooij et al. 2014, Lemma 3",
        ("test_bounds.py::test_adahedge_regret_is_within_its_bounds",),
    ),
    Bound(
        "adahedge_spread", f"{FEW}; AdaHedge", "derived; compare de Rooij et al. 2014, Theorem 6",
        ("test_bounds.py::test_adahedge_bounds_are_nearly_attained",),
        "reached as T grows only: 2·s_max is there beside a variance of s²/4 in every round",
    ),
    Bound(
        "fixed_share", "linear or 1/ε-mixable losses; Fixed Share, any α", "Herbster & Warmuth 1998",
        ("learners/test_expert_learners.py::test_the_switching_bound_is_attained_exactly_on_log_loss",
         "test_mixture_tv.py::test_the_switching_bound_is_attained_on_acceptance"),
    ),
    Bound(
        "fixed_share_tuned", "log loss, ε = 1, uniform prior; Fixed Share, α = S/(T−1)", "Herbster & Warmuth 1998",
        ("learners/test_expert_learners.py::test_the_switching_bound_is_attained_exactly_on_log_loss",),
    ),
    Bound(
        "fixed_share_apriori", f"{FEW}; linear losses of range c; Fixed Share, α = S/(T−1)",
        "Herbster & Warmuth 1998; constants derived",
        ("learners/test_expert_learners.py::test_fixed_share_a_priori_on_linear_losses",),
        "what pays for the switches shows which expert leads, and then a gap is below ε·c²/8",
    ),
    Bound(
        "optimistic_hedge", "any losses and hints; exponential weights, constant ε", "derived",
        ("learners/test_optimistic_experts.py::test_optimistic_hedge_s_gap_is_exactly_what_the_proof_says",),
    ),
    Bound(
        "optimistic_hedge_stable", "any losses and hints; exponential weights, constant ε",
        "derived; compare Syrgkanis et al. 2015, Theorem 7",
        ("learners/test_optimistic_experts.py::test_the_stable_form_is_nearly_attained",),
        "where ln(1/p)/ε is nearly all of it",
    ),
    Bound(
        "ensemble", "convex losses, one gradient a round; bases and meta learner with bounds",
        "Zhang, Lu & Zhou 2018, Theorem 3 and its proof",
        ("test_bounds.py::test_ensemble_regret_is_within_the_sharp_bound",),
    ),
    Bound(
        "ader", f"{G}, of range c; OGD on Ader's grid under Hedge", "Zhang, Lu & Zhou 2018, Theorem 3",
        ("test_bounds.py::test_ader_and_the_doubling_grid_keep_their_promise",),
        "it rests on 7D²/4 + D·P_T where OGD pays D²/2 + D·P_T/2 on a ball (``ogd_centred``): a factor of 2 and more",
    ),
    Bound(
        "ensemble_doubling", f"{G}, of range c; OGD on a doubling grid under Hedge, uniform prior", "derived",
        ("learners/test_optimistic_experts.py::test_how_near_the_ensembles_come_to_their_promises",), BOTH_HALVES,
    ),
    Bound(
        "sword", f"{G}, L-smooth; optimistic OGD under optimistic Hedge, η ≤ 1/(8L), ε ≤ 1/(2LD²), λ = L",
        "derived; compare Zhao et al. 2024",
        ("learners/test_optimistic_experts.py::test_sword_is_within_its_a_priori_bounds_on_smooth_games",), ONE_BASE,
    ),
    Bound(
        "sword_small_loss", f"{SMOOTH}; as ``sword``, with λ ≤ 1/(8η) and q < 1", "derived",
        ("learners/test_optimistic_experts.py::test_the_small_loss_form_of_sword_within_a_third",),
        f"{ONE_BASE.partition(';')[0]}: as it gets shorter 1/(1 − q) nears 1, over ever more rounds",
    ),
    Bound(
        "adversary_value", "any learner on a ball, d ≥ 3, K equal segments", "derived",
        ("checker/test_tightness.py::test_the_adversary_forces_its_value_on_every_learner",
         "test_bounds.py::test_the_adversary_forces_its_value_on_everybody"),
    ),
)}  # fmt: skip
