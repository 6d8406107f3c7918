"""Live captions on the device: from the hall's microphone to lines of text on the link."""
