"""How far each part of a picture moved: two pictures enter, displacements of their parts leave."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 3  # of the pyramid; the coarsest has a quarter of the side
ROUNDS = 2  # of each level
WINDOW = 7  # [px] side of the square that moves as one
FAINT = 1e-2  # of standardised pictures: gradients this weak say nothing


def optical_flow(before: Tensor, after: Tensor) -> Tensor:
    """Return where pixels of `before` went in `after`, by Lucas and Kanade (1981), coarse first.

    Nothing is learned. Where a window has no texture, or only an edge, the part of the motion that
    does not show is taken from the coarser level, in the end as none.

    Args:
        before: (N, 1, H, W) brightness.
        after: (N, 1, H, W).

    Returns:
        Displacement (N, 2, H, W) [px], right and down.
    """
    pairs = [(before, after)]
    for _ in range(LEVELS - 1):
        a, b = (nn.functional.avg_pool2d(x, 2, ceil_mode=True) for x in pairs[-1])
        pairs.append((a, b))
    flow = 0 * torch.cat([pairs[-1][0]] * 2, 1)  # of as many pictures as an export may meet
    for a, b in reversed(pairs):
        if flow.shape[2:] != a.shape[2:]:
            flow = 2 * nn.functional.interpolate(
                flow, size=a.shape[2:], mode="bilinear", align_corners=False
            )
        flow = _refined(a, b, flow)
    return flow


def _refined(before: Tensor, after: Tensor, flow: Tensor) -> Tensor:
    """Improve a flow by what its windows still miss."""
    dx = nn.functional.pad(before, (1, 1, 0, 0), mode="replicate")
    dy = nn.functional.pad(before, (0, 0, 1, 1), mode="replicate")
    dx, dy = (dx[..., 2:] - dx[..., :-2]) / 2, (dy[..., 2:, :] - dy[..., :-2, :]) / 2
    xx, xy, yy = (_blurred(x) for x in (dx * dx, dx * dy, dy * dy))
    xx, yy = xx + FAINT, yy + FAINT
    certain = xx * yy - xy * xy
    for _ in range(ROUNDS):
        missed = before - moved(after, flow)
        x, y = _blurred(dx * missed), _blurred(dy * missed)
        step = torch.cat([yy * x - xy * y, xx * y - xy * x], 1) / certain
        flow = flow + step.clamp(-1, 1)
    return flow


def _blurred(values: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(values, WINDOW, 1, WINDOW // 2, count_include_pad=False)


def moved(picture: Tensor, flow: Tensor) -> Tensor:
    """Return a picture (N, C, H, W) as seen where a flow (N, 2, H, W) [px] leads."""
    height, width = picture.shape[2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    place = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], 3)
    return nn.functional.grid_sample(picture, place, padding_mode="border", align_corners=False)
