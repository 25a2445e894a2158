import os
import tempfile
import unittest

from angzarr.types_pb2 import UUID, Cover, EventBook, EventPage
from examples.order_pb2 import ItemAdded, ItemRemoved, OrderCompleted, OrderCreated

from angzarr_service import pack
from receipt import ReceiptProjector

RECEIPT = """\
Order o-1
Customer alice@example.com
----------------------------------------
   3 x prod-1                      15.00
   1 x prod-2                       2.50
----------------------------------------
Total                              17.50"""

STORY = [
    OrderCreated(customer_id="alice@example.com"),
    ItemAdded(product_id="prod-1", quantity=2, price_cents=500),
    ItemAdded(product_id="prod-2", quantity=1, price_cents=250),
    ItemAdded(product_id="prod-3", quantity=9, price_cents=100),
    ItemRemoved(product_id="prod-3", quantity=9, price_cents=100, reason="Only 0 in stock, 9 wanted"),
    ItemAdded(product_id="prod-1", quantity=1, price_cents=500),
    OrderCompleted(customer_id="alice@example.com", total_cents=1750, loyalty_points_earned=17),
]


def book(events, first=0):
    """Returns a book of one order's events, numbered from first."""
    return EventBook(
        cover=Cover(domain="order", aggregate_id="o-1", root=UUID(value=bytes(16))),
        pages=[EventPage(num=first + i, event=pack(event)) for i, event in enumerate(events)],
    )


class Receipts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.projector = ReceiptProjector(os.path.join(folder.name, "receipts.db"))
        self.addCleanup(self.projector.db.close)

    def stored(self):
        return self.projector.db.execute("SELECT order_id, total_cents, text FROM receipts").fetchall()

    def test_a_completed_order_has_a_receipt(self):
        receipt = self.projector.project(book(STORY))
        self.assertEqual(RECEIPT, receipt.formatted_text)
        self.assertEqual([("o-1", 1750, RECEIPT)], self.stored())

    def test_the_events_may_come_one_by_one(self):
        receipts = [self.projector.project(book([event], number)) for number, event in enumerate(STORY)]
        self.assertEqual([None] * 6, receipts[:6])
        self.assertEqual(RECEIPT, receipts[6].formatted_text)

    def test_events_that_come_again_change_nothing(self):
        for number, event in enumerate(STORY):
            self.projector.project(book([event], number))
        again = self.projector.project(book(STORY))
        self.assertEqual(RECEIPT, again.formatted_text)
        self.assertEqual([("o-1", 1750, RECEIPT)], self.stored())

    def test_what_is_cleared_away_is_made_anew(self):
        self.projector.project(book(STORY))
        self.projector.clear()
        self.assertEqual([], self.stored())
        self.projector.project(book(STORY))
        self.assertEqual([("o-1", 1750, RECEIPT)], self.stored())

    def test_lines_of_an_earlier_life_are_forgotten(self):
        self.projector.project(book(STORY))
        short = [STORY[0], STORY[1], OrderCompleted(customer_id="alice@example.com", total_cents=1000)]
        receipt = self.projector.project(book(short))
        self.assertIn("   2 x prod-1                      10.00\n---", receipt.formatted_text)
        self.assertEqual(1000, self.stored()[0][1])


if __name__ == "__main__":
    unittest.main()
