# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false
"""A CUDA device made of host memory, for machines without one: it knows what lies on it, and who waits for it.

Inside ``FakeCuda`` code says ``device="cuda"`` and takes the branches that it takes on a GPU. What lies there is
computed on the CPU, so that texts can be compared. What a GPU would refuse is refused: operands on two devices, a wait
or fresh host memory while a graph is captured. What it would make slow is counted: every wait of the host, and every
time that its caching allocator would ask the driver for memory. A captured graph replays the very kernels, arguments
and addresses that it saw, and until it is replayed its outputs hold nothing.

It does not know streams: work on them happens in the order in which it is asked for. Nor does it know speed.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.fake_cuda_parts import CUDA, Event, Graph, Memory, Stream, is_view, mapped, raw_of, tensors

__all__ = ["FakeCuda", "Fault", "OnDevice"]

aten: Any = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
_now: list["FakeCuda"] = []


class Fault(RuntimeError):
    """A GPU would refuse this."""


def _named(device: Any) -> bool:
    """Whether it is the device, by the name that code has for it or by the one that torch has."""
    return device is not None and torch.device(device).type in ("cuda", "meta")


def _with_index(value: Any) -> Any:
    """The device by number: without one torch would ask the driver which is the current one."""
    return CUDA if isinstance(value, str | torch.device) and str(value) in ("cuda", "cuda:0") else value


class OnDevice(Tensor):
    """A tensor on the fake device; ``raw`` holds its numbers."""

    raw: Tensor
    is_cuda, is_meta, is_cpu = True, False, False

    @staticmethod
    def __new__(cls, raw: Tensor) -> "OnDevice":
        settings = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype}
        # torch itself sees meta, which needs no driver; code in Python sees cuda
        with torch.inference_mode(False):
            return torch.Tensor._make_wrapper_subclass(cls, raw.shape, **settings, device="meta")

    def __init__(self, raw: Tensor):
        self.raw = raw
        _now[-1].memory.take(self)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _now[-1].run(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def data(self) -> "OnDevice":
        return self.detach()  # pyright: ignore[reportReturnType]

    @data.setter
    def data(self, new: "OnDevice") -> None:
        if not isinstance(new, OnDevice):
            raise Fault("a parameter on the device was given data on the host")
        torch.Tensor.data.__set__(self, new)  # pyright: ignore[reportAttributeAccessIssue]
        self.raw, self._holder = new.raw, new

    def data_ptr(self) -> int:
        return self.raw.data_ptr()

    def get_device(self) -> int:
        return 0

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.cpu().numpy()
        raise Fault("numpy reads memory of the host; this tensor is on the device")

    def cuda(self, *args: Any, **kwargs: Any) -> Tensor:
        return self

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        named = {key: value for key, value in kwargs.items() if key != "copy"}
        device, dtype, *_ = torch._C._nn._parse_to(*args, **named)
        if device is not None and device.type == "meta":
            with torch._C._DisableTorchDispatch():
                return torch.empty_like(self.raw, dtype=dtype, device="meta")
        if (device is None or _named(device)) and dtype in (None, self.dtype) and not kwargs.get("copy"):
            return self
        return super().to(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            made = self.detach().clone()
            is_parameter = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = torch.nn.Parameter(made, self.requires_grad) if is_parameter else made
        return memo[id(self)]


OnDevice.__module__ = "torch"  # where code asks whose arrays these are


def _pin(tensor: Tensor) -> Tensor:
    """A copy in memory that a GPU can fetch by itself."""
    made = tensor.clone()
    made.pinned = True  # pyright: ignore[reportAttributeAccessIssue]
    return made


class FakeCuda:
    """The device; as a context, ``"cuda"`` is it.

    Attributes:
        waits: every wait of the host for the device so far, in words. kernels: how many were run. memory: see
            ``Memory``.
    """

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.kernels = 0
        self.memory = Memory()
        self._graph: Graph | None = None

    def wait(self, why: str) -> None:
        """The host waits until the device is done."""
        if self._graph is not None:
            raise Fault(f"{why}: waits for the device while a graph is captured")
        self.waits.append(why)

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """One operation that was asked for."""
        flat = tensors((args, kwargs))
        ours, named = [one for one in flat if isinstance(one, OnDevice)], kwargs.get("device")
        if not ours and not _named(named):
            return func(*args, **kwargs)
        if func._can_decompose():  # inference mode shows what is made of other operations
            with _Dispatch(self):
                return func.decompose(*args, **kwargs)
        if func in COPIES:
            return self._copy(func, args, kwargs)
        self._refuse_mixture(func, flat)
        self._count_wait(func, args)
        return self._kernel(func, args, kwargs, flat)

    def _kernel(self, func: Any, args: Any, kwargs: dict[str, Any], flat: list[Tensor]) -> Any:
        self.kernels += 1
        if kwargs.get("device") is not None:
            kwargs = kwargs | {"device": torch.device("cpu")}
        owners = {id(raw_of(one)): one for one in flat}
        raw_args, raw_kwargs = mapped(raw_of, (args, kwargs))
        made = func(*raw_args, **raw_kwargs)
        outs = mapped(lambda one: owners[id(one)] if id(one) in owners else self._wrapped(one), made)
        changes = func._schema.is_mutable
        if self._graph is not None and (changes or not is_view(made, raw_args)):
            self._graph.calls.append((func, args, kwargs, outs))
        return outs

    @staticmethod
    def _wrapped(made: Any) -> Any:
        return OnDevice(made) if isinstance(made, Tensor) else made

    @staticmethod
    def _refuse_mixture(func: Any, flat: list[Tensor]) -> None:
        """Numbers on the host may take part only as a single number that is not an index."""
        left = [one for one in flat if not isinstance(one, OnDevice) and (one.dim() or func._schema.is_mutable)]
        if left:
            raise Fault(f"{func}: tensors on the device and on the host, {[tuple(one.shape) for one in left]}")

    def _count_wait(self, func: Any, args: Any) -> None:
        name = func._schema.name.removeprefix("aten::")
        if name in INDEXING:
            indices = [one for one in args[1] if isinstance(one, Tensor)]
            if any(one.dtype in (torch.bool, torch.uint8) for one in indices) and not (
                name != "index" and args[2].numel() == 1
            ):
                self.wait(f"{name} by a mask")
        elif {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            self.wait(name)

    def _copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Between host and device, or on the device from one type to another."""
        if func is aten.copy_.default:
            goal, source = args[:2]
            here, waits = isinstance(goal, OnDevice), not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        else:
            source, named = args[0], kwargs.get("device")
            ours = isinstance(source, OnDevice)
            here = _named(named) or (ours and named is None)
            waits = not kwargs.get("non_blocking")
        if here and isinstance(source, OnDevice):
            return self._kernel(func, args, kwargs, [one for one in args if isinstance(one, Tensor)])
        if not here:
            self.wait("copy to the host" if waits else "copy to the host that is read too early")
        elif waits:
            self.wait("copy to the device")
        elif not getattr(source, "pinned", False):
            self.wait("copy to the device of memory that is not pinned")
        elif self._graph is not None:
            raise Fault("memory of the host was sent while a graph is captured: a replay would read it again")
        return self._moved(func, args, kwargs, here)

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any], here: bool) -> Any:
        self.kernels += 1
        raw, named = mapped(raw_of, (args, kwargs))
        if func is aten.copy_.default:
            func(*raw, **named)
            return args[0]
        made = func(*raw, **(named | {"device": torch.device("cpu"), "non_blocking": False}))
        made = made.clone() if made.data_ptr() == raw[0].data_ptr() else made
        return OnDevice(made) if here else made

    @contextmanager
    def _capturing(self, graph: Graph, *args: Any, **kwargs: Any) -> Iterator[None]:
        self._graph = graph
        try:
            yield
        finally:
            self._graph = None
        for func, _, _, outs in graph.calls:  # kernels that were captured have not run
            for out in tensors(outs) if not func._schema.is_mutable else ():
                if out.raw.is_floating_point():
                    out.raw.fill_(float("nan"))

    @contextmanager
    def _on_stream(self, stream: Any = None) -> Iterator[None]:
        """Modes belong to a thread: one that works on a stream gets them here."""
        with self._modes():
            yield

    def _modes(self) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(_Dispatch(self))
        stack.enter_context(_Functions())
        return stack

    def __enter__(self) -> "FakeCuda":
        self._stack = ExitStack()
        _now.append(self)
        self._stack.callback(_now.pop)
        cuda = {
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "current_stream": partial(Stream, self.wait),
            "Stream": partial(Stream, self.wait),
            "Event": partial(Event, self.wait),
            "CUDAGraph": Graph,
            "graph": self._capturing,
            "stream": self._on_stream,
            "device": lambda device: ExitStack(),
            "synchronize": lambda device=None: self.wait("cuda.synchronize"),
            "get_device_name": lambda device=None: "fake",
        }
        for name, fake in cuda.items():
            self._stack.enter_context(patch.object(torch.cuda, name, fake))
        self._stack.enter_context(patch.object(Tensor, "pin_memory", _pin))
        self._stack.enter_context(self._modes())
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()


class _Dispatch(TorchDispatchMode):
    def __init__(self, device: FakeCuda):
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._device.run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What asks for the driver before it dispatches."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tuple(map(_with_index, args)), {key: _with_index(one) for key, one in (kwargs or {}).items()}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == CUDA:
            del kwargs["device"]
            return func(*args, **kwargs).to(CUDA)
        return func(*args, **kwargs)
