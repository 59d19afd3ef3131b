"""The model room: image and text towers, pooling, and the dual encoder that joins them."""
