"""The one relational database of the control plane, shared by the ways and by the durable workflows."""
