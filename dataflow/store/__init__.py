"""Everything that touches the flow's Redis: keys, scripts and the operations on them. See docs/DELIVERY.md."""
