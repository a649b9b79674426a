"""What families of video share: pairs of pictures enter, the actions between them leave."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from invdyn_ros.models.augmentation import augmented
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Meta, Prediction
from invdyn_ros.models.network import stacked
from invdyn_ros.windows import Observed, Windows

PAIR = 2  # pictures that an action lies between
AT_A_TIME = 256  # pairs, so that a long video needs little memory
COUNTED = 2000  # pictures that tell mean and spread


class Video(InverseDynamics):
    """A family that sees a picture and the one before it; it writes `between` and no more.

    What it reads of each time are `Trajectory.pixels`: the picture row by row and the verb.
    """

    observed: ClassVar[Observed] = "pixels"
    pixel_mean: Tensor  # (3,) of 0 to 255
    pixel_std: Tensor  # (3,)

    def __init__(self, meta: Meta) -> None:
        """Prepare an untrained model of pictures of the size in `meta`.

        Raises:
            ValueError: the data have no pictures.
        """
        if len(meta.frame) != 2:
            raise ValueError(
                f"family {meta.family} reads pictures and the data have none; make some with "
                "'invdyn collect video' or 'invdyn collect film'"
            )
        super().__init__(meta)
        self.register_buffer("pixel_mean", torch.zeros(3, dtype=self.dtype))
        self.register_buffer("pixel_std", torch.ones(3, dtype=self.dtype))

    @abstractmethod
    def between(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised action (N, n) between standardised pictures.

        Args:
            before: (N, 3, H, W).
            after: (N, 3, H, W).
            verb: (N,) class of the narrated verb, or NO_VERB.
        """

    @property
    def width(self) -> int:
        """Numbers per frame: of the picture, and the verb."""
        height, width = self.meta.frame
        return 3 * height * width + 1

    @property
    def history(self) -> int:
        """Pictures that a prediction looks at."""
        return PAIR

    @property
    def lacking(self) -> int:
        """The first picture has none before it."""
        return PAIR - 1

    def pictures(self, pixels: Tensor) -> Tensor:
        """Return the standardised pictures (N, 3, H, W) of pixels (N, F)."""
        images = pixels[:, :-1].to(self.dtype).unflatten(1, (*self.meta.frame, 3))
        return ((images - self.pixel_mean) / self.pixel_std).permute(0, 3, 1, 2)

    def forward(self, pairs: Tensor) -> Tensor:
        """Return the standardised action (N, n) of pairs of pixels (N, 2, F)."""
        verb = pairs[:, 1, -1].long()
        return self.between(self.pictures(pairs[:, 0]), self.pictures(pairs[:, 1]), verb)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error, in variances, of the action of the last picture."""
        wanted = action[:, -1]
        if not self.training:
            parts = motion[:, -PAIR:].split(AT_A_TIME)
            return self._error(torch.cat([self(part) for part in parts]), wanted)
        pictures = motion[:, -PAIR:, :-1].unflatten(2, (*self.meta.frame, 3))
        pictures, wanted = augmented(pictures, wanted, self.meta.joint_names)
        return self._error(
            self(torch.cat([pictures.flatten(2), motion[:, -PAIR:, -1:]], 2)), wanted
        )

    def _error(self, found: Tensor, wanted: Tensor) -> Tensor:
        return (found - (wanted - self.target_mean) / self.target_std).square().mean()

    def infer(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; that of the first picture, with none before it, says nothing."""
        pairs = stacked(motion, PAIR)  # (B, T, 2, F)
        # slices, since the sizes of a split would be fixed in an export
        starts = range(0, int(motion.shape[1]), AT_A_TIME)
        parts = [pairs[:, k : k + AT_A_TIME] for k in starts]
        found = [self(part.flatten(0, 1)).unflatten(0, part.shape[:2]) for part in parts]
        actions = torch.addcmul(self.target_mean, torch.cat(found, dim=1), self.target_std)
        return Prediction(actions, None)

    def _own(self, motion: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return pixels as they are: bytes of a long video fit where their floats would not."""
        return motion, (time - time[..., -1:]).to(self.dtype)

    def standardise(self, train: Windows) -> None:
        """Take mean and spread of colours and actions from the training data."""
        chosen = torch.linspace(0, train.size - 1, min(COUNTED, train.size)).long()
        colours = (
            train.motion[chosen.to(train.motion.device), -1, :-1].reshape(-1, 3).to(self.dtype)
        )
        for name, values in (("pixel", colours), ("target", train.action[:, -1])):
            spread = values.std(0, correction=0)
            spread = torch.where(spread > 1e-9, spread, torch.ones_like(spread))
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_std").copy_(spread)

    def typical(self) -> tuple[Tensor, Tensor]:
        """Return mean and spread (width,) of the pixels; the verb is class 0."""
        count, none = (self.width - 1) // 3, torch.zeros(1, device=self.pixel_mean.device)
        both = (torch.cat([x.repeat(count), none]) for x in (self.pixel_mean, self.pixel_std))
        mean, std = both
        return mean, std

    def target(self, motion: Tensor, action: Tensor) -> Tensor:
        """Return what the family models: the action, of which pictures are no part."""
        return action

    def action(self, motion: Tensor, target: Tensor) -> Tensor:
        """Undo `target`."""
        return target
