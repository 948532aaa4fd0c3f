"""The node pack: what ComfyUI looks for in a folder of `custom_nodes`."""

from comfy_api.latest import ComfyExtension

from .nodes import NODES


class DeSa2VAExtension(ComfyExtension):
    """The nodes of this pack."""

    async def get_node_list(self) -> list[type]:
        """All of them."""
        return NODES


async def comfy_entrypoint() -> ComfyExtension:
    """Called by ComfyUI."""
    return DeSa2VAExtension()
