Feature: Streaming

  Execute shows a client what its command causes, while it happens. Subscribe shows what a correlation causes.

  Background:
    Given a domain "orders"
    And a domain "stock"
    And a saga "reserve" from "orders" that reacts with:
      | event     | command | domain | aggregate |
      | PlaceDone | Reserve | stock  | shelf-1   |

  Scenario: Execute streams the command's own events, then what sagas caused, each book once, and ends
    When I execute a "Place" command for aggregate "order-1"
    Then my stream ends with OK
    And my stream delivers:
      | domain | aggregate | sequence | event_type  |
      | orders | order-1   | 0        | PlaceDone   |
      | stock  | shelf-1   | 0        | ReserveDone |

  Scenario: Execute shows its own events while the rest is still to come
    Given the saga "reserve" is held
    When I execute a "Place" command for aggregate "order-1"
    Then my stream delivers:
      | domain | event_type |
      | orders | PlaceDone  |
    When the saga "reserve" is released
    Then my stream delivers:
      | domain | event_type  |
      | orders | PlaceDone   |
      | stock  | ReserveDone |
    And my stream ends with OK

  Scenario: A command without effect ends at once
    Given on "Look" the business logic of "orders" answers with nothing
    When I execute a "Look" command for aggregate "order-1"
    Then my stream ends with OK

  # Only the bus inside a process can be told how to misbehave; what a broker does wrong by itself is tried in its driver.
  @in-process
  Scenario: Every book comes once even when the bus doubles everything
    Given a bus that doubles messages
    When I execute a "Place" command for aggregate "order-1"
    Then my stream ends with OK
    And my stream delivers:
      | domain | event_type  |
      | orders | PlaceDone   |
      | stock  | ReserveDone |

  # Only the bus inside a process can be told how to misbehave; what a broker does wrong by itself is tried in its driver.
  @in-process
  Scenario: Every book comes even when the bus loses everything
    Given a bus that loses messages
    When I execute a "Place" command for aggregate "order-1"
    Then my stream ends with OK
    And my stream delivers:
      | domain | event_type  |
      | orders | PlaceDone   |
      | stock  | ReserveDone |

  Scenario: Two clients see only what each of them caused
    When client "A" executes a "Place" command for aggregate "order-A" with correlation id "of-A"
    And client "B" executes a "Place" command for aggregate "order-B" with correlation id "of-B"
    Then client "A"'s stream ends with OK
    And client "B"'s stream ends with OK
    And client "A"'s stream delivers:
      | domain | event_type  | correlation_id |
      | orders | PlaceDone   | of-A           |
      | stock  | ReserveDone | of-A           |
    And client "B"'s stream delivers:
      | domain | event_type  | correlation_id |
      | orders | PlaceDone   | of-B           |
      | stock  | ReserveDone | of-B           |

  Scenario: The server stops deciding for a client that leaves
    Given the business logic of "orders" is held
    When I execute a "Place" command for aggregate "order-1"
    And the business logic of "orders" is at work
    And I leave
    Then the call of the business logic of "orders" is given up
    And 0 events total exist for aggregate "order-1"

  Scenario: The server stops waiting for a client that leaves, and the command stays done
    Given a bus that loses messages
    And the saga "reserve" is held
    When I execute a "Place" command for aggregate "order-1"
    And the saga "reserve" is at work
    And I leave
    Then the call of the saga "reserve" is given up
    When the saga "reserve" is released
    And everything has settled
    Then 1 event total exists for aggregate "order-1"
    And 1 event total exists for aggregate "shelf-1" in domain "stock"

  Scenario: A client that leaves does not disturb another
    Given the saga "reserve" is held
    When client "A" executes a "Place" command for aggregate "order-A" with correlation id "of-A"
    And client "B" executes a "Place" command for aggregate "order-B" with correlation id "of-B"
    And the saga "reserve" is at work
    And client "A" leaves
    And the saga "reserve" is released
    Then client "B"'s stream ends with OK
    And client "B"'s stream delivers:
      | domain | event_type  |
      | orders | PlaceDone   |
      | stock  | ReserveDone |

  Scenario: A rejected command ends Execute with its status
    Given on "Place" the business logic of "orders" refuses with OUT_OF_RANGE "the basket is full"
    When I execute a "Place" command for aggregate "order-1"
    Then my stream ends with OUT_OF_RANGE and says "the basket is full"

  Scenario: A stale number ends Execute as well
    When I execute a "Place" command for aggregate "order-1" at sequence 3
    Then my stream ends with FAILED_PRECONDITION and says "Sequence mismatch: command expects 3, aggregate at 0"

  Scenario: Execute ends when nothing comes for the stream timeout and it cannot be known whether all has settled
    Given the configuration "gateway.stream_timeout_secs" is "1"
    And the saga "reserve" is held
    When I execute a "Place" command for aggregate "order-1"
    Then my stream delivers:
      | domain | event_type |
      | orders | PlaceDone  |
    And my stream ends with OK

  Scenario: A subscription needs a correlation id
    When I subscribe to correlation ""
    Then my stream ends with INVALID_ARGUMENT and says "correlation_id is required"

  Scenario: A subscriber sees what its correlation causes
    When I subscribe to correlation "checkout-42"
    And I send a "Place" command for aggregate "order-1" with correlation id "checkout-42"
    And I send a "Place" command for aggregate "order-2" with correlation id "other"
    And everything has settled
    Then my stream delivers:
      | domain | event_type  | correlation_id |
      | orders | PlaceDone   | checkout-42    |
      | stock  | ReserveDone | checkout-42    |

  Scenario: Nothing is replayed to a subscriber
    Given client "A" subscribes to correlation "checkout-42"
    When I send a "Place" command for aggregate "order-1" with correlation id "checkout-42"
    Then client "A"'s stream delivers:
      | domain | event_type  |
      | orders | PlaceDone   |
      | stock  | ReserveDone |
    When I subscribe to correlation "checkout-42"
    And I send a "Pay" command for aggregate "order-1" with correlation id "checkout-42"
    Then my stream delivers:
      | domain | event_type |
      | orders | PayDone    |
    And client "A"'s stream delivers:
      | domain | event_type  |
      | orders | PlaceDone   |
      | stock  | ReserveDone |
      | orders | PayDone     |

  Scenario: A slow subscriber is told that it was dropped
    When I subscribe to correlation "bulk" without reading
    And other processes append 1500 events of 1 KiB with correlation id "bulk"
    And everything has settled
    And I begin to read
    Then my stream ends with RESOURCE_EXHAUSTED and says "dropped from the events of correlation bulk"
