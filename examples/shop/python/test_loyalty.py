import unittest

from examples.customer_pb2 import AddLoyaltyPoints
from examples.order_pb2 import OrderCompleted

from angzarr_service import command_for
from loyalty import reward_customer


class LoyaltyRules(unittest.TestCase):
    def test_a_completed_order_earns_its_customer_points(self):
        completed = OrderCompleted(customer_id="alice@example.com", total_cents=1250, loyalty_points_earned=12)
        self.assertEqual(
            [command_for("customer", "alice@example.com", AddLoyaltyPoints(points=12, reason="Order o-1"))],
            reward_customer(completed, "o-1"),
        )

    def test_an_order_that_earns_nothing_sends_nothing(self):
        self.assertEqual([], reward_customer(OrderCompleted(customer_id="alice@example.com"), "o-1"))


if __name__ == "__main__":
    unittest.main()
