"""Events in, responses out: the webhook, a batch of the queue, the self check."""
