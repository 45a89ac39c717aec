"""What the function is invoked for: schedules, work of its queue, and questions of the playbooks."""
