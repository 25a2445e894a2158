import os
import tempfile
import unittest

import grpc
from angzarr import aggregate_pb2_grpc, projector_pb2_grpc, saga_pb2_grpc
from angzarr.projector_pb2 import ProjectorReset
from angzarr.types_pb2 import (
    UUID,
    CommandBook,
    CommandPage,
    ContextualCommand,
    Cover,
    EventBook,
    EventPage,
    Projection,
    RevokeEventCommand,
    SagaResponse,
    Snapshot,
)
from examples.customer_pb2 import (
    AddLoyaltyPoints,
    CreateCustomer,
    CustomerCreated,
    CustomerState,
    LoyaltyPointsAdded,
)
from examples.order_pb2 import OrderCompleted, OrderCreated
from examples.receipt_pb2 import Receipt
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc

import customer
import loyalty
from angzarr_service import Aggregate, Projector, Saga, command_for, new_server, pack

COVER = Cover(domain="customer", root=UUID(value=bytes(range(16))))
CREATE = CreateCustomer(name="Alice", email="alice@example.com")
CREATED = CustomerCreated(name="Alice", email="alice@example.com")


def command(*messages):
    return CommandBook(cover=COVER, pages=[CommandPage(command=pack(message)) for message in messages])


def history(*events, first=0):
    return EventBook(cover=COVER, pages=numbered(events, first))


def numbered(events, first):
    return [EventPage(num=first + i, event=pack(event)) for i, event in enumerate(events)]


class OverGRPC(unittest.TestCase):
    """Each test talks to a real server on a socket of its own."""

    def connect(self, register):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        address = "unix:" + os.path.join(folder.name, "s.sock")
        server = new_server(register)
        server.add_insecure_port(address)
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        channel = grpc.insecure_channel(address)
        self.addCleanup(channel.close)
        return channel


class Aggregates(OverGRPC):
    def setUp(self):
        servicer = Aggregate(CustomerState, customer.HANDLERS, customer.APPLIERS, snapshot_every=3)
        channel = self.connect(lambda server: aggregate_pb2_grpc.add_AggregateServicer_to_server(servicer, server))
        self.aggregate = aggregate_pb2_grpc.AggregateStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    def handle(self, events, book):
        return self.aggregate.Handle(ContextualCommand(events=events, command=book)).events

    def assert_status(self, code, words, events, book):
        with self.assertRaises(grpc.RpcError) as raised:
            self.handle(events, book)
        self.assertEqual((code, words), (raised.exception.code(), raised.exception.details()))

    def test_is_healthy(self):
        answer = self.health.Check(health_pb2.HealthCheckRequest())
        self.assertEqual(health_pb2.HealthCheckResponse.SERVING, answer.status)

    def test_answers_with_the_new_events_only(self):
        self.assertEqual(history(CREATED), self.handle(EventBook(), command(CREATE)))
        self.assertEqual(
            history(LoyaltyPointsAdded(points=5, balance=5), first=1),
            self.handle(history(CREATED), command(AddLoyaltyPoints(points=5))),
        )

    def test_decides_each_page_on_what_the_one_before_led_to(self):
        self.assertEqual(
            history(CREATED, LoyaltyPointsAdded(points=5, balance=5)),
            self.handle(EventBook(), command(CREATE, AddLoyaltyPoints(points=5))),
        )

    def test_hands_over_a_snapshot_when_enough_events_have_passed(self):
        answer = self.handle(history(CREATED), command(AddLoyaltyPoints(points=5), AddLoyaltyPoints(points=6)))
        state = CustomerState(name="Alice", email="alice@example.com", loyalty_points=11)
        self.assertEqual(pack(state), answer.snapshot_state)

    def test_goes_on_from_a_snapshot(self):
        state = CustomerState(name="Alice", email="alice@example.com", loyalty_points=11)
        events = history(LoyaltyPointsAdded(points=1, balance=12), first=3)
        events.snapshot.CopyFrom(Snapshot(sequence=2, state=pack(state)))
        self.assertEqual(
            history(LoyaltyPointsAdded(points=5, balance=17), first=4),
            self.handle(events, command(AddLoyaltyPoints(points=5))),
        )
        del events.pages[:]
        self.assertEqual(
            history(LoyaltyPointsAdded(points=5, balance=16), first=3),
            self.handle(events, command(AddLoyaltyPoints(points=5))),
        )

    def test_does_not_care_for_prefixes(self):
        book = command(CREATE)
        for prefix in ("", "type.examples/", "type.angzarr/"):
            book.pages[0].command.type_url = prefix + "examples.CreateCustomer"
            self.assertEqual(history(CREATED), self.handle(EventBook(), book))

    def test_rejects_in_the_words_of_the_rule(self):
        code = grpc.StatusCode.FAILED_PRECONDITION
        self.assert_status(code, "Customer already exists", history(CREATED), command(CREATE))
        code = grpc.StatusCode.INVALID_ARGUMENT
        self.assert_status(code, "Customer name is required", EventBook(), command(CreateCustomer()))

    def test_names_the_command_that_it_has_no_rule_for(self):
        code = grpc.StatusCode.UNIMPLEMENTED
        words = "no handler for command angzarr.RevokeEventCommand"
        self.assert_status(code, words, history(CREATED), command(RevokeEventCommand()))
        book = command(CREATE)
        book.pages[0].command.type_url = "type.googleapis.com/examples.Unknown"
        self.assert_status(code, "no handler for command examples.Unknown", EventBook(), book)

    def test_refuses_a_command_that_cannot_be_read(self):
        book = command(CREATE)
        book.pages[0].command.value = b"\xff\xff"
        with self.assertRaises(grpc.RpcError) as raised:
            self.handle(EventBook(), book)
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, raised.exception.code())
        self.assertTrue(raised.exception.details().startswith("examples.CreateCustomer cannot be read: "))

    def test_decides_nothing_on_a_history_that_it_does_not_understand(self):
        events = EventBook(pages=[EventPage(num=0, event=Any(type_url="examples.Unknown"))])
        with self.assertLogs("grpc", "ERROR"), self.assertRaises(grpc.RpcError) as raised:
            self.handle(events, command(CREATE))
        self.assertIn("event 0 has the unknown type examples.Unknown", raised.exception.details())


class Projectors(OverGRPC):
    def test_says_how_far_the_projection_goes(self):
        results = [None, Receipt(order_id="o-1")]
        projector = Projector(lambda book: results.pop(), lambda: None)
        channel = self.connect(lambda server: projector_pb2_grpc.add_ProjectorServicer_to_server(projector, server))
        stub = projector_pb2_grpc.ProjectorStub(channel)
        self.assertEqual(
            Projection(cover=COVER, sequence=4, projection=pack(Receipt(order_id="o-1"))),
            stub.Handle(history(OrderCreated(), OrderCompleted(), first=3)),
        )
        self.assertEqual(Projection(cover=COVER, sequence=5), stub.Handle(history(OrderCreated(), first=5)))

    def test_is_told_to_begin_from_nothing(self):
        made = ["a receipt"]
        projector = Projector(lambda book: None, made.clear)
        channel = self.connect(lambda server: projector_pb2_grpc.add_ProjectorServicer_to_server(projector, server))
        self.assertEqual(Empty(), projector_pb2_grpc.ProjectorStub(channel).Reset(ProjectorReset(projector="receipt")))
        self.assertEqual([], made)


class Sagas(OverGRPC):
    def setUp(self):
        saga = Saga(loyalty.REACTIONS)
        channel = self.connect(lambda server: saga_pb2_grpc.add_SagaServicer_to_server(saga, server))
        self.saga = saga_pb2_grpc.SagaStub(channel)

    def test_sends_the_commands_that_follow(self):
        events = history(OrderCreated(), OrderCompleted(customer_id="alice@example.com", loyalty_points_earned=3))
        reward = AddLoyaltyPoints(points=3, reason="Order 00010203-0405-0607-0809-0a0b0c0d0e0f")
        self.assertEqual(
            SagaResponse(commands=[command_for("customer", "alice@example.com", reward)]),
            self.saga.Handle(events),
        )

    def test_ignores_what_it_does_not_know(self):
        events = EventBook(cover=COVER, pages=[EventPage(num=0, event=Any(type_url="examples.Unknown"))])
        self.assertEqual(SagaResponse(), self.saga.Handle(events))


if __name__ == "__main__":
    unittest.main()
