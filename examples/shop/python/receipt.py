"""Serves the projector "receipt": it keeps the lines of every order in SQLite and
writes a receipt when the order is completed.
"""

import os
import sqlite3
import threading

from examples.order_pb2 import ItemAdded, ItemRemoved, OrderCompleted
from examples.receipt_pb2 import Receipt

from angzarr_service import aggregate_id, serve_projector, unpack

# One row for each event, under its number: an event that comes twice writes the
# same row twice.
SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
    order_root  BLOB NOT NULL,
    sequence    INTEGER NOT NULL,
    product_id  TEXT NOT NULL,
    quantity    INTEGER NOT NULL,  -- below 0 for items that were removed
    price_cents INTEGER NOT NULL,
    PRIMARY KEY (order_root, sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipts (
    order_root  BLOB PRIMARY KEY,
    order_id    TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    total_cents INTEGER NOT NULL,
    text        TEXT NOT NULL
) WITHOUT ROWID;
"""


def format_receipt(order_id, customer_id, lines, total_cents):
    """Returns a receipt as it is printed. lines: (product id, quantity, cents)."""
    rows = [f"Order {order_id}", f"Customer {customer_id}", "-" * 40]
    rows += [f"{quantity:>4} x {product:<22} {cents / 100:>10.2f}" for product, quantity, cents in lines]
    rows += ["-" * 40, f"{'Total':<29} {total_cents / 100:>10.2f}"]
    return "\n".join(rows)


class ReceiptProjector:
    def __init__(self, path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.executescript(SCHEMA)

    def project(self, book):
        """Takes the new events of one order, all or nothing. Returns the Receipt
        if the order is completed with them.
        """
        receipt = None
        with self.lock, self.db:
            for page in book.pages:
                event = unpack(page.event)
                if isinstance(event, ItemAdded):
                    self.write_line(book, page.num, event, event.quantity)
                elif isinstance(event, ItemRemoved):
                    self.write_line(book, page.num, event, -event.quantity)
                elif isinstance(event, OrderCompleted):
                    receipt = self.write_receipt(book, page.num, event)
        return receipt

    def clear(self):
        """Forgets everything, because all events come again."""
        with self.lock, self.db:
            self.db.execute("DELETE FROM lines")
            self.db.execute("DELETE FROM receipts")

    def write_line(self, book, sequence, item, quantity):
        self.db.execute(
            "INSERT OR REPLACE INTO lines VALUES (?, ?, ?, ?, ?)",
            (book.cover.root.value, sequence, item.product_id, quantity, item.price_cents),
        )

    def write_receipt(self, book, sequence, completed):
        order_id = aggregate_id(book.cover)
        lines = self.read_lines(book.cover.root.value, sequence)
        text = format_receipt(order_id, completed.customer_id, lines, completed.total_cents)
        self.db.execute(
            "INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?, ?)",
            (book.cover.root.value, order_id, completed.customer_id, completed.total_cents, text),
        )
        return Receipt(
            order_id=order_id,
            customer_id=completed.customer_id,
            total_cents=completed.total_cents,
            formatted_text=text,
        )

    def read_lines(self, order_root, before):
        return self.db.execute(
            """SELECT product_id, SUM(quantity), SUM(quantity) * price_cents FROM lines
               WHERE order_root = ? AND sequence < ?
               GROUP BY product_id, price_cents HAVING SUM(quantity) > 0 ORDER BY MIN(sequence)""",
            (order_root, before),
        ).fetchall()


if __name__ == "__main__":
    folder = os.environ.get("ANGZ_DATA", ".angz")
    path = os.environ.get("RECEIPTS_DB", os.path.join(folder, "receipts.db"))
    projector = ReceiptProjector(path)
    serve_projector(projector.project, projector.clear)
