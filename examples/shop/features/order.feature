Feature: Orders

  Background:
    Given prior events for aggregate "prod-1" in domain "inventory":
      | event_type | quantity | available |
      | StockAdded | 10       | 10        |
    And prior events for aggregate "alice@example.com" in domain "customer":
      | event_type      | name  | email             |
      | CustomerCreated | Alice | alice@example.com |

  Scenario: What is ordered is taken out of stock
    Given prior events for aggregate "order-1" in domain "order":
      | event_type   | customer_id       |
      | OrderCreated | alice@example.com |
    When I send an "AddItem" command for aggregate "order-1":
      | product_id | quantity | price_cents |
      | prod-1     | 2        | 1250        |
    Then the events are:
      | event_type | product_id | quantity |
      | ItemAdded  | prod-1     | 2        |
    And the saga "reservation" sends a "ReserveStock" command to aggregate "prod-1" in domain "inventory":
      | order_id | quantity |
      | order-1  | 2        |
    And the saga "loyalty" sends no commands

  Scenario: What is not in stock is taken out of the order again
    Given prior events for aggregate "order-1" in domain "order":
      | event_type   | customer_id       |
      | OrderCreated | alice@example.com |
    When I send an "AddItem" command for aggregate "order-1":
      | product_id | quantity | price_cents |
      | prod-1     | 99       | 1250        |
    Then aggregate "order-1" in domain "order" has the events:
      | event_type   | product_id | quantity |
      | OrderCreated |            |          |
      | ItemAdded    | prod-1     | 99       |
      | ItemRemoved  | prod-1     | 99       |

  Scenario: A completed order earns points and gets a receipt
    Given prior events for aggregate "order-1" in domain "order":
      | event_type   | customer_id       | product_id | quantity | price_cents |
      | OrderCreated | alice@example.com |            |          |             |
      | ItemAdded    |                   | prod-1     | 2        | 1250        |
    When I send a "CompleteOrder" command for aggregate "order-1"
    Then an "OrderCompleted" event is emitted with:
      | customer_id       | total_cents |
      | alice@example.com | 2500        |
    And the saga "loyalty" sends an "AddLoyaltyPoints" command to aggregate "alice@example.com" in domain "customer"
    And the projector "receipt" answers:
      | order_id | total_cents |
      | order-1  | 2500        |

  Scenario: An order is created once
    Given prior events for aggregate "order-1" in domain "order":
      | event_type   | customer_id       |
      | OrderCreated | alice@example.com |
    When I send a "CreateOrder" command for aggregate "order-1":
      | customer_id       |
      | alice@example.com |
    Then the command is rejected with FAILED_PRECONDITION
