"""All the gRPC that the shop's Python components need, so that their own files
hold nothing but business rules.
"""

import json
import logging
import os
import signal
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import lru_cache

import grpc
from angzarr import aggregate_pb2_grpc, projector_pb2_grpc, saga_pb2_grpc
from angzarr.aggregate_pb2 import ReplayResponse
from angzarr.types_pb2 import (
    BusinessResponse,
    CommandBook,
    CommandPage,
    Cover,
    EventBook,
    Projection,
    SagaResponse,
)
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2_grpc

MAX_MESSAGE_BYTES = 16 << 20
GRACE_SECONDS = 5  # for the calls in flight when told to stop
THREADS = 4

log = logging.getLogger("angzarr_service")


class CommandRejectedError(Exception):
    """Refuses a command that the state does not allow."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class InvalidCommandError(CommandRejectedError):
    """Refuses a command that no state would allow."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class UnhandledCommandError(CommandRejectedError):
    """Refuses a command that there is no rule for."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Aggregate(aggregate_pb2_grpc.AggregateServicer):
    """The rules of one domain.

    state_class: the message that holds an aggregate's state.
    handlers: for each command class, handler(command, state) returns the event
        that then has happened, or a list of events, or None; or it raises
        CommandRejectedError. It does not change the state.
    appliers: for each event class, applier(state, event) changes the state.
    snapshot_every: hand angz the state whenever this many events have passed.
    """

    def __init__(self, state_class, handlers, appliers, snapshot_every):
        self.state_class = state_class
        self.handlers = handlers
        self.appliers = appliers
        self.snapshot_every = snapshot_every

    def Handle(self, request, context):
        try:
            return BusinessResponse(events=self.decide(request.events, request.command))
        except CommandRejectedError as rejection:
            context.abort(rejection.code, str(rejection))

    def Replay(self, request, context):
        """Makes the state of a history, so that people can look at it."""
        state, _ = self.rebuild(request.events)
        answer = ReplayResponse()
        answer.state.Pack(state)
        return answer

    def decide(self, history, command):
        """Returns the book of new events for a CommandBook."""
        state, first = self.rebuild(history)
        book = EventBook(cover=command.cover)
        for page in command.pages:
            for event in self.handle_page(page, state):
                # Numbers may be left out; angz checks those that are given.
                book.pages.add(num=first + len(book.pages), event=pack(event))
                self.apply(state, event)
        if first // self.snapshot_every < (first + len(book.pages)) // self.snapshot_every:
            book.snapshot_state.Pack(state)
        return book

    def rebuild(self, history):
        """Returns the state after a book of events and the number that is next."""
        state, following = self.state_class(), 0
        if history.HasField("snapshot"):
            state.ParseFromString(history.snapshot.state.value)
            following = history.snapshot.sequence + 1
        for page in history.pages:
            event = unpack(page.event)
            if event is None:
                raise ValueError(f"event {page.num} has the unknown type {page.event.type_url}")
            self.apply(state, event)
            following = page.num + 1
        return state, following

    def apply(self, state, event):
        applier = self.appliers.get(type(event))
        if applier:
            applier(state, event)

    def handle_page(self, page, state):
        try:
            command = unpack(page.command)
        except DecodeError as error:
            raise InvalidCommandError(f"{type_name(page.command)} cannot be read: {error}") from error
        handler = self.handlers.get(type(command))
        if not handler:
            raise UnhandledCommandError(f"no handler for command {type_name(page.command)}")
        events = handler(command, state)
        if events is None:
            return []
        return events if isinstance(events, list) else [events]


class Projector(projector_pb2_grpc.ProjectorServicer):
    """Calls project(book) with the new events of one aggregate. It returns the
    projection as a message, or None, and may be called again with the same book.
    Calls clear() when all events are about to come again.
    """

    def __init__(self, project, clear):
        self.project = project
        self.clear = clear

    def Handle(self, request, context):
        projection = Projection(cover=request.cover, projector=os.environ.get("PROJECTOR_NAME", ""))
        if request.pages:
            projection.sequence = request.pages[-1].num
        result = self.project(request)
        if result is not None:
            projection.projection.Pack(result)
        return projection

    def Reset(self, request, context):
        self.clear()
        return Empty()


class Saga(saga_pb2_grpc.SagaServicer):
    """The rules of one saga: for each event class, reaction(event, aggregate_id)
    returns the commands that follow, made with command_for.
    """

    def __init__(self, reactions):
        self.reactions = reactions

    def Handle(self, request, context):
        response = SagaResponse()
        for page in request.pages:
            event = unpack(page.event)
            reaction = self.reactions.get(type(event))
            if reaction:
                response.commands.extend(reaction(event, aggregate_id(request.cover)))
        return response


def serve_aggregate(state_class, handlers, appliers, snapshot_every=100):
    """Serves an Aggregate until the process is told to stop."""
    servicer = Aggregate(state_class, handlers, appliers, snapshot_every)
    serve(lambda server: aggregate_pb2_grpc.add_AggregateServicer_to_server(servicer, server))


def serve_projector(project, clear):
    """Serves a Projector until the process is told to stop."""
    servicer = Projector(project, clear)
    serve(lambda server: projector_pb2_grpc.add_ProjectorServicer_to_server(servicer, server))


def serve_saga(reactions):
    """Serves a Saga until the process is told to stop."""
    serve(lambda server: saga_pb2_grpc.add_SagaServicer_to_server(Saga(reactions), server))


def command_for(domain, aggregate_id, message):
    """Returns the book that sends one command to an aggregate, whatever number
    the aggregate is at.
    """
    return CommandBook(
        cover=Cover(domain=domain, aggregate_id=aggregate_id),
        pages=[CommandPage(command=pack(message))],
        auto_resequence=True,
    )


def aggregate_id(cover):
    """Returns what people call an aggregate or, if it has no such name, the text
    of its root, which addresses it just as well.
    """
    return cover.aggregate_id or str(uuid.UUID(bytes=cover.root.value))


def pack(message):
    """Returns the message in an Any."""
    packed = Any()
    packed.Pack(message)
    return packed


def unpack(packed):
    """Returns the message in an Any, None if this program does not know its type."""
    message_class = find_class(type_name(packed))
    return message_class.FromString(packed.value) if message_class else None


def type_name(packed):
    """Returns the name of the message in an Any, whatever prefix it came with."""
    return packed.type_url.rpartition("/")[2]


@lru_cache
def find_class(name):
    try:
        return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
    except KeyError:
        return None


def serve(register):
    """Serves what register adds to a gRPC server until the process is told to stop."""
    log_as_json()
    server = new_server(register)
    address = address_from_environment()
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        sys.exit(f"cannot listen on {address}: {error}")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    server.start()
    log.info("listening", extra={"address": address})
    stopping.wait()
    server.stop(GRACE_SECONDS).wait()
    log.info("stopped")


def new_server(register):
    """Returns a gRPC server with a health service and what register adds to it."""
    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),  # a port that somebody else has is an error
        ],
    )
    register(server)
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    return server


def address_from_environment():
    """Returns the place that the environment names: PORT (on loopback, or HOST),
    or a socket in the folder that angz shares with its services.
    """
    if os.environ.get("TRANSPORT_TYPE") == "uds":
        folder, kind = os.environ["UDS_BASE_PATH"], os.environ["SERVICE_NAME"]
        name = os.environ[{"business": "DOMAIN", "saga": "SAGA_NAME", "projector": "PROJECTOR_NAME"}[kind]]
        os.umask(0o077)  # the socket is for this user only
        os.makedirs(folder, exist_ok=True)
        return "unix:" + os.path.abspath(os.path.join(folder, f"{kind}-{name}.sock"))
    if "PORT" not in os.environ:
        sys.exit('no PORT in the environment; start this service with "angz dev", or set PORT')
    return os.environ.get("HOST", "127.0.0.1") + ":" + os.environ["PORT"]


def log_as_json():
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class JSONFormatter(logging.Formatter):
    """One JSON object a line, with the same keys as the Go components."""

    def format(self, record):
        moment = datetime.fromtimestamp(record.created, timezone.utc).isoformat()
        line = {"time": moment, "level": record.levelname, "msg": record.getMessage()}
        if hasattr(record, "address"):
            line["address"] = record.address
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)
