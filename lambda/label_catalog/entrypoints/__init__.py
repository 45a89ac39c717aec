"""The function's events: schedules, messages of its queue, and requests of the playbooks."""
