"""Serves the saga "loyalty": a completed order earns its customer points."""

from examples.customer_pb2 import AddLoyaltyPoints
from examples.order_pb2 import OrderCompleted

from angzarr_service import command_for, serve_saga


def reward_customer(completed, order_id):
    """The customer gets the points that the order has earned, if any."""
    if not completed.loyalty_points_earned:
        return []

    reward = AddLoyaltyPoints(points=completed.loyalty_points_earned, reason=f"Order {order_id}")
    return [command_for("customer", completed.customer_id, reward)]


REACTIONS = {OrderCompleted: reward_customer}

if __name__ == "__main__":
    serve_saga(REACTIONS)
