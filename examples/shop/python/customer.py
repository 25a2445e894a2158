"""Serves the domain "customer": who they are, and their loyalty points."""

from examples.customer_pb2 import (
    AddLoyaltyPoints,
    CreateCustomer,
    CustomerCreated,
    CustomerState,
    LoyaltyPointsAdded,
    LoyaltyPointsRedeemed,
    RedeemLoyaltyPoints,
)

from angzarr_service import CommandRejectedError, InvalidCommandError, serve_aggregate

MAX_POINTS = 2**32 - 1


def handle_create_customer(command, state):
    """Somebody becomes a customer once, with a name and an e-mail address."""
    if state.name:
        raise CommandRejectedError("Customer already exists")
    if not command.name:
        raise InvalidCommandError("Customer name is required")
    if not command.email:
        raise InvalidCommandError("Customer email is required")

    return CustomerCreated(name=command.name, email=command.email)


def handle_add_loyalty_points(command, state):
    """Customers collect points."""
    require_customer(state)
    require_points(command.points)
    if command.points > MAX_POINTS - state.loyalty_points:
        raise CommandRejectedError(f"Nobody can have more than {MAX_POINTS} points")

    return LoyaltyPointsAdded(
        points=command.points,
        reason=command.reason,
        balance=state.loyalty_points + command.points,
    )


def handle_redeem_loyalty_points(command, state):
    """Customers spend the points they have, and no more."""
    require_customer(state)
    require_points(command.points)
    if command.points > state.loyalty_points:
        raise CommandRejectedError(f"Customer has only {state.loyalty_points} points")

    return LoyaltyPointsRedeemed(
        points=command.points,
        balance=state.loyalty_points - command.points,
    )


def require_customer(state):
    if not state.name:
        raise CommandRejectedError("Customer does not exist")


def require_points(points):
    if points == 0:
        raise InvalidCommandError("Points must be at least 1")


def apply_customer_created(state, event):
    state.name = event.name
    state.email = event.email


def apply_loyalty_points(state, event):
    state.loyalty_points = event.balance


HANDLERS = {
    CreateCustomer: handle_create_customer,
    AddLoyaltyPoints: handle_add_loyalty_points,
    RedeemLoyaltyPoints: handle_redeem_loyalty_points,
}

APPLIERS = {
    CustomerCreated: apply_customer_created,
    LoyaltyPointsAdded: apply_loyalty_points,
    LoyaltyPointsRedeemed: apply_loyalty_points,
}

if __name__ == "__main__":
    serve_aggregate(CustomerState, HANDLERS, APPLIERS)
