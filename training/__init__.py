"""Trains a ResNeXt on folders of images: `python -m training`."""
