"""What every route uses: the models by name, the workers, the limits, threads for photos."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from starlette.requests import Request

from tgqformer.catalog.items import Item
from tgqformer.retrieval.scores import Vectors
from tgqformer.service.batching import Worker
from tgqformer.service.config import ServiceConfig
from tgqformer.service.explanation import Explanation, MapMaker
from tgqformer.service.failures import ApiError, OverloadedError
from tgqformer.service.incoming import Pictures
from tgqformer.service.observing import Metrics
from tgqformer.service.served import Change, Found, Query, Served

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS = 4  # that read photos and small things from the disk
_WAITING = 256


class Service:
    """The running service.

    Args:
        models: by name, the default one first.
        config: the limits.
        metrics: where figures go.
    """

    def __init__(
        self, models: Sequence[Served], config: ServiceConfig, metrics: Metrics | None = None
    ) -> None:
        self.models: Mapping[str, Served] = {model.name: model for model in models}
        self.default = models[0].name
        self.config = config
        self.metrics = metrics or Metrics()
        self.pictures = Pictures(config)
        self.stopping = False
        observe = self.metrics.batch
        self.embedding = Worker(
            "embedding",
            max_queued=config.max_queued,
            batch=config.batch,
            wait=config.batch_wait,
            observe=observe,
        )
        self.searching = Worker("search", max_queued=config.max_searches, batch=64, observe=observe)
        self.writing = Worker(
            "write", max_queued=config.max_writes, batch=config.max_writes, observe=observe
        )
        self.maps = {model.name: MapMaker(model.index, config.map_items) for model in models}
        self._changing: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="service")
        self._waiting = 0
        self.metrics.follow(self)

    def model(self, name: str | None) -> Served:
        """A model by its name; ApiError (404) where none is called so."""
        model = self.models.get(self.default if name is None else name)
        if model is None:
            known = ", ".join(self.models)
            raise ApiError(
                404,
                f"no model is called {str(name)[:100]!r}; choose one of: {known}.",
                param="model",
                code="model_not_found",
            )
        return model

    @asynccontextmanager
    async def changing(self, model: Served, ids: Iterable[str]) -> AsyncIterator[None]:
        """Let nobody else change these items meanwhile, nor start from what is stored of them."""
        async with AsyncExitStack() as held:
            for item_id in sorted(set(ids)):  # in one order, or two could wait for each other
                key = model.name, item_id
                lock = self._changing.get(key)
                if lock is None:
                    lock = self._changing[key] = asyncio.Lock()
                await held.enter_async_context(lock)
            yield

    async def embed(self, model: Served, items: Sequence[Item]) -> list[Vectors]:
        """Embed items, in batches with those of other requests."""
        return await self.embedding.ask(model.encode, items, timeout=self.config.timeout)

    async def explain(self, model: Served, item: Item, other: Item | None) -> Explanation:
        """Explain an item or a pair; the model's own worker does it."""
        answers: list[Explanation] = await self.embedding.ask(
            model.explain, [(item, other)], timeout=self.config.timeout
        )
        return answers[0]

    async def search(self, model: Served, query: Query) -> Found:
        """Search, together with those who ask at the same time."""
        answers = await self.searching.ask(model.search, [query], timeout=self.config.timeout)
        return answers[0]

    async def write(self, model: Served, changes: Sequence[Change]) -> list[bool | None]:
        """Write (`Served.apply`). What has returned is on the disk."""
        return await self.writing.ask(model.apply, changes, timeout=self.config.timeout)

    async def aside(
        self, run: Callable[_P, _T], /, *arguments: _P.args, **options: _P.kwargs
    ) -> _T:
        """Run something that blocks in one of a few threads."""
        if self._waiting >= _WAITING:
            raise OverloadedError(f"{self._waiting} requests wait for a thread; come again later.")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(
                loop.run_in_executor(self._threads, functools.partial(run, *arguments, **options)),
                self.config.timeout,
            )
        except asyncio.TimeoutError:
            limit = self.config.timeout
            raise ApiError(
                504, f"the request was not answered within {limit:g} s; ask again later."
            ) from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what waits and let go of everything."""
        self.stopping = True
        for worker in (self.embedding, self.searching, self.writing):
            worker.close()
        for maker in self.maps.values():
            maker.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.pictures.close()
        for model in self.models.values():
            model.close()


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    found: Service = request.app.state.service
    return found
