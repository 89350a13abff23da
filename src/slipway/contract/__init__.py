"""The data contract: its words, how a problem's Pydantic model is read, and the check of a frame; may import `slipway.errors`."""
