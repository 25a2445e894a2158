"""Goes shopping: a plain gRPC client of the shop that knows nothing but the .proto
files. It sends commands to CommandGateway.Execute, prints the books that stream
back, reads the result from EventQuery, and fails when anything is not as it
should be. Run it while "angz dev examples/shop" is up, from the shop's own
virtual environment:

    examples/shop/.venv/bin/python examples/client/python/shop_client.py
"""

import argparse
import sys
import uuid

import grpc
from angzarr.gateway_pb2_grpc import CommandGatewayStub
from angzarr.query_pb2 import Query
from angzarr.query_pb2_grpc import EventQueryStub
from angzarr.types_pb2 import CommandBook, CommandPage, Cover
from examples import customer_pb2, inventory_pb2, order_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.json_format import MessageToJson
from google.protobuf.timestamp_pb2 import Timestamp


class Unexpected(Exception):
    """Something is not as it should be."""


class Shop:
    def __init__(self, gateway, query, timeout):
        self.gateway = CommandGatewayStub(grpc.insecure_channel(gateway))
        self.query = EventQueryStub(grpc.insecure_channel(query))
        self.timeout = timeout

    def execute(self, domain, aggregate_id, command):
        """Sends a command, prints all that it causes, and returns the types of the
        events as "domain EventType", in the order in which they came.
        """
        print(f"\n> {domain} {aggregate_id} {show(pack(command))}")
        book = CommandBook(
            cover=Cover(domain=domain, aggregate_id=aggregate_id),
            pages=[CommandPage(command=pack(command))],
            # Joins all that this command causes, and nothing from earlier runs.
            correlation_id=str(uuid.uuid4()),
            # This client does not keep track of the aggregate's numbers.
            auto_resequence=True,
        )
        happened, seen = [], set()
        for events in self.gateway.Execute(book, timeout=self.timeout):
            check(events.correlation_id == book.correlation_id, f"a book of the correlation {events.correlation_id!r}")
            for page in events.pages:
                place = (events.cover.domain, events.cover.root.value, page.num)
                check(place not in seen, f"{events.cover.domain} event {page.num} came twice")
                check(page.created_at != Timestamp(), f"{events.cover.domain} event {page.num} has no time")
                seen.add(place)
                happened.append(f"{events.cover.domain} {short_type(page.event)}")
                print(f"  {events.cover.domain} {events.cover.aggregate_id} #{page.num} {show(page.event)}")
        return happened

    def history(self, domain, aggregate_id):
        """Returns the types of all events of an aggregate."""
        book = self.query.GetEventBook(Query(domain=domain, aggregate_id=aggregate_id), timeout=self.timeout)
        numbers = [page.num for page in book.pages]
        check(numbers == list(range(len(numbers))), f"{domain} {aggregate_id} has the events {numbers}")
        streamed = self.query.GetEvents(Query(domain=domain, aggregate_id=aggregate_id), timeout=self.timeout)
        pages = [page for part in streamed for page in part.pages]
        check(pages == list(book.pages), "GetEvents and GetEventBook differ")
        return [short_type(page.event) for page in book.pages]


def go_shopping(shop, customer, order, product):
    """Buys two of what is there, asks for more than there is, and pays."""
    expect(
        ["inventory StockAdded"],
        shop.execute("inventory", product, inventory_pb2.AddStock(quantity=10)),
    )
    expect(
        ["customer CustomerCreated"],
        shop.execute("customer", customer, customer_pb2.CreateCustomer(name="Alice", email=customer)),
    )
    expect(
        ["order OrderCreated"],
        shop.execute("order", order, order_pb2.CreateOrder(customer_id=customer)),
    )
    expect(
        ["order ItemAdded", "inventory StockReserved"],
        shop.execute("order", order, order_pb2.AddItem(product_id=product, quantity=2, price_cents=1250)),
    )
    expect(  # the inventory refuses, so the order takes it back
        ["order ItemAdded", "order ItemRemoved"],
        shop.execute("order", order, order_pb2.AddItem(product_id=product, quantity=1000000, price_cents=1)),
    )
    expect(
        ["order OrderCompleted", "customer LoyaltyPointsAdded"],
        shop.execute("order", order, order_pb2.CompleteOrder()),
    )
    expect_rejection(
        "Customer already exists",
        lambda: shop.execute("customer", customer, customer_pb2.CreateCustomer(name="Bob", email=customer)),
    )
    expect(
        ["OrderCreated", "ItemAdded", "ItemAdded", "ItemRemoved", "OrderCompleted"],
        shop.history("order", order),
    )
    expect(["CustomerCreated", "LoyaltyPointsAdded"], shop.history("customer", customer))


def expect(wanted, found):
    check(found == wanted, f"expected {wanted}, found {found}")


def expect_rejection(words, call):
    try:
        call()
    except grpc.RpcError as error:
        check(
            (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, words),
            f"expected the rejection {words!r}, found {error.code()} {error.details()!r}",
        )
        print(f"  rejected: {error.details()}")
    else:
        raise Unexpected(f"expected the rejection {words!r}, found none")


def check(true, otherwise):
    if not true:
        raise Unexpected(otherwise)


def pack(message):
    packed = Any()
    packed.Pack(message)
    return packed


def short_type(packed):
    return packed.type_url.rpartition("/")[2].rpartition(".")[2]


def show(packed):
    """Returns the message in an Any as its type and JSON."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.type_url.rpartition("/")[2])
    message = message_factory.GetMessageClass(descriptor).FromString(packed.value)
    return f"{short_type(packed)} {MessageToJson(message, indent=None, preserving_proto_field_name=True)}"


def main():
    trip = uuid.uuid4().hex[:8]  # so that every run has a customer and an order of its own
    parser = argparse.ArgumentParser(description="Goes shopping in examples/shop.")
    parser.add_argument("--gateway", default="localhost:1316", help="address of CommandGateway (%(default)s)")
    parser.add_argument("--query", default="localhost:1314", help="address of EventQuery (%(default)s)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for each call (%(default)s)")
    parser.add_argument("--customer", default=f"alice-{trip}@example.com", help="a new customer (%(default)s)")
    parser.add_argument("--order", default=f"order-{trip}", help="a new order (%(default)s)")
    parser.add_argument("--product", default="prod-1", help="what to buy (%(default)s)")
    arguments = parser.parse_args()
    try:
        go_shopping(
            Shop(arguments.gateway, arguments.query, arguments.timeout),
            arguments.customer,
            arguments.order,
            arguments.product,
        )
    except grpc.RpcError as error:
        sys.exit(f"shop_client: {error.code().name}: {error.details()}")
    except Unexpected as error:
        sys.exit(f"shop_client: {error}")
    print("\nEverything is as it should be.")


if __name__ == "__main__":
    main()
