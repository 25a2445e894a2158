import unittest

from examples.customer_pb2 import (
    AddLoyaltyPoints,
    CreateCustomer,
    CustomerCreated,
    CustomerState,
    LoyaltyPointsAdded,
    LoyaltyPointsRedeemed,
    RedeemLoyaltyPoints,
)

from angzarr_service import CommandRejectedError, InvalidCommandError
from customer import APPLIERS, HANDLERS

ALICE = CustomerCreated(name="Alice", email="alice@example.com")


def decide(history, command):
    """Returns the event that a command leads to after a history of events."""
    state = CustomerState()
    for event in history:
        APPLIERS[type(event)](state, event)
    return HANDLERS[type(command)](command, state)


class CustomerRules(unittest.TestCase):
    def assert_rejected(self, error, words, history, command):
        with self.assertRaises(error) as raised:
            decide(history, command)
        self.assertEqual(words, str(raised.exception))

    def test_a_customer_is_created(self):
        self.assertEqual(ALICE, decide([], CreateCustomer(name="Alice", email="alice@example.com")))

    def test_a_customer_is_created_only_once(self):
        command = CreateCustomer(name="Bob", email="bob@example.com")
        self.assert_rejected(CommandRejectedError, "Customer already exists", [ALICE], command)

    def test_a_customer_needs_a_name_and_an_email(self):
        self.assert_rejected(
            InvalidCommandError, "Customer name is required", [], CreateCustomer(email="alice@example.com")
        )
        self.assert_rejected(InvalidCommandError, "Customer email is required", [], CreateCustomer(name="Alice"))

    def test_points_add_up(self):
        history = [ALICE, LoyaltyPointsAdded(points=30, balance=30)]
        self.assertEqual(
            LoyaltyPointsAdded(points=12, reason="Order o-1", balance=42),
            decide(history, AddLoyaltyPoints(points=12, reason="Order o-1")),
        )

    def test_points_are_redeemed(self):
        history = [ALICE, LoyaltyPointsAdded(points=30, balance=30)]
        self.assertEqual(LoyaltyPointsRedeemed(points=30, balance=0), decide(history, RedeemLoyaltyPoints(points=30)))

    def test_nobody_redeems_more_than_there_is(self):
        history = [ALICE, LoyaltyPointsAdded(points=30, balance=30), LoyaltyPointsRedeemed(points=10, balance=20)]
        self.assert_rejected(
            CommandRejectedError, "Customer has only 20 points", history, RedeemLoyaltyPoints(points=21)
        )

    def test_points_are_for_customers(self):
        for command in (AddLoyaltyPoints(points=1), RedeemLoyaltyPoints(points=1)):
            self.assert_rejected(CommandRejectedError, "Customer does not exist", [], command)

    def test_no_points_are_no_points(self):
        for command in (AddLoyaltyPoints(), RedeemLoyaltyPoints()):
            self.assert_rejected(InvalidCommandError, "Points must be at least 1", [ALICE], command)

    def test_points_do_not_overflow(self):
        history = [ALICE, LoyaltyPointsAdded(points=2**32 - 1, balance=2**32 - 1)]
        self.assert_rejected(
            CommandRejectedError, "Nobody can have more than 4294967295 points", history, AddLoyaltyPoints(points=1)
        )


if __name__ == "__main__":
    unittest.main()
