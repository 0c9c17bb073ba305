"""The 80 classes of COCO, and their channels in the Object Detection API's detectors, which have 90. No TensorFlow."""

from collections.abc import Sequence

CHANNELS = 90
"""Category ids go to 90; ten of them have no category."""

_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,,backpack,umbrella,,,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,,dining table,,,toilet,,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
"""By channel: category id minus 1; "" has no category."""


def channels_of(names: Sequence[str]) -> list[int] | None:
    """The channel of each class; None unless all of them are classes of COCO.

    Args:
      names: the classes' names, in the order of our channels.
    """
    channel = {name: i for i, name in enumerate(_NAMES.split(",")) if name}
    return [channel[name] for name in names] if names and all(name in channel for name in names) else None
