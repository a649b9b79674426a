"""What families of video share: pairs of pictures enter, the actions between them leave."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from invdyn_ros.data.windows import InputType, Windows
from invdyn_ros.models.augmentation import Shown, augmented
from invdyn_ros.models.inverse_dynamics import InverseDynamics, ModelMetadata, Prediction

PAIR = 2  # pictures that an action lies between
AT_A_TIME = 128  # pairs, so that a long video needs little memory
RIDGE = 1e-3  # in mean squares, of weights of neighbouring intervals
RATES = ("rad/s",)  # units of actions that last; the others are displacements
COUNTED = 2000  # pictures that tell mean and spread


class Video(InverseDynamics):
    """A family that sees a picture and the one before it; it writes `between` and no more.

    What it reads of each time are `Trajectory.pixels`: the picture row by row and the verb.
    Where a picture is misjudged, what moved before it and what moved after it err by the opposite,
    and things that move go on as they went. So an action is a weighted sum of what the network
    says of its own interval and of those beside it, as far as there are pictures: in a recording
    on both sides, live before. The weights of each joint minimise the squared error on validation
    recordings and on the same ones run backwards (a Wiener filter).
    """

    input_type: ClassVar[InputType] = "pixels"
    pixel_mean: Tensor  # (3,) of 0 to 255
    pixel_std: Tensor  # (3,)
    steady: Tensor  # (4, n, 3) weights of what moved before, in and after an interval, by
    # twice whether there is one before, plus whether there is one after

    def __init__(self, meta: ModelMetadata) -> None:
        """Prepare an untrained model of pictures of the size in `meta`.

        Raises:
            ValueError: the data have no pictures.
        """
        if len(meta.frame) != 2:
            raise ValueError(
                f"family {meta.family} reads pictures and the data have none; make some with "
                "'invdyn collect video' or 'invdyn collect rendered-video'"
            )
        super().__init__(meta)
        self.register_buffer("pixel_mean", torch.zeros(3, dtype=self.dtype))
        self.register_buffer("pixel_std", torch.ones(3, dtype=self.dtype))
        alone = torch.tensor([0.0, 1.0, 0.0], dtype=self.dtype)
        self.register_buffer("steady", alone.repeat(4, self.n, 1))

    @abstractmethod
    def between(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised displacement (N, n) between standardised pictures.

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
    def n_obs_steps(self) -> int:
        """Pictures that a prediction looks at, where none is known after them."""
        return PAIR + 1

    @property
    def window(self) -> int:
        """Pictures of a training window."""
        return PAIR

    @property
    def stride(self) -> int:
        """Of two windows that follow each other the one ends where the other begins."""
        return self.window - 1

    @property
    def warmup_frames(self) -> int:
        """The first picture has none before it."""
        return PAIR - 1

    def pictures(self, colours: Tensor) -> Tensor:
        """Return standardised pictures (N, T, 3, H, W) of colours (N, T, H, W, 3), 0 to 255."""
        images = (colours.to(self.dtype) - self.pixel_mean) / self.pixel_std
        return images.permute(0, 1, 4, 2, 3).contiguous()

    def displacement(self, films: Tensor, verb: Tensor, pairs: Tensor) -> Tensor:
        """Return the standardised displacement (N, P, n) between pictures of films.

        Args:
            films: (N, T, 3, H, W), standardised.
            verb: (N,) class of the narrated verb, or NO_VERB.
            pairs: (P, 2) numbers of the pictures before and after.
        """
        before, after = (films[:, numbers].flatten(0, 1) for numbers in pairs.T)
        found = self.between(before, after, verb.repeat_interleave(len(pairs)))
        return found.unflatten(0, (-1, len(pairs)))  # how many films an export leaves open

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error, in variances, of what moved between pictures.

        In training between any two of a window, else between neighbours. What moved between
        pictures farther apart is the sum of what moved between neighbours.
        """
        moved = action[:, 1:, : self.n] * self.lasting(time)[:, 1:]  # (N, T - 1, n)
        known = action[..., self.n :]  # (N, T, 2 L)
        points = known.reshape(*known.shape[:2], known.shape[2] // 2, 2)
        films = Shown(motion[..., :-1].unflatten(2, (*self.meta.frame, 3)), moved, points)
        number = torch.arange(motion.shape[1], device=motion.device)
        if self.training:
            films = augmented(films, self.meta.joint_names)
            pairs = torch.combinations(number)
        else:
            pairs = torch.stack([number[:-1], number[1:]], 1)
        steps = films.action / self.target_std
        path = nn.functional.pad(steps, (0, 0, 1, 0)).cumsum(1)  # (N, T, n)
        wanted = path[:, pairs[:, 1]] - path[:, pairs[:, 0]]
        batch = films.pictures, motion[:, -1, -1].long(), wanted, films.points
        parts = zip(*(x.split(AT_A_TIME) for x in batch), strict=True)
        losses = [
            self.compute_loss(self.pictures(film), verb, pairs, want, place) * len(film)
            for film, verb, want, place in parts
        ]
        return torch.stack(losses).sum() / len(motion)

    def compute_loss(
        self, films: Tensor, verb: Tensor, pairs: Tensor, wanted: Tensor, points: Tensor
    ) -> Tensor:
        """Return the mean squared error of the displacements, and what else is to be small.

        Args:
            films: (N, T, 3, H, W), standardised.
            verb: (N,) class of the narrated verb, or NO_VERB.
            pairs: (P, 2) numbers of the pictures before and after.
            wanted: (N, P, n) displacements, standardised.
            points: (N, T, L, 2) known places in the pictures, in shares of their size.
        """
        return (self.displacement(films, verb, pairs) - wanted).square().mean()

    def lasting(self, time: Tensor) -> Tensor:
        """Return how long an action at times (N, T) [s] lasted, (N, T, 1), 1 for the usual time.

        Displacements have no duration: theirs is always 1, as is that of the first picture.
        """
        step = (time[:, 1:] - time[:, :-1]) * self.meta.rate
        if self.meta.action_unit not in RATES:
            step = 0 * step + 1
        return torch.cat([0 * time[:, :1] + 1, step], 1).unsqueeze(2)

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; that of the first picture, with none before it, is zero."""
        alone = self._alone(motion, time)
        number = torch.arange(alone.shape[1], device=alone.device)
        weights = self.steady[2 * (number > 0) + (number < alone.shape[1] - 1)]  # (T - 1, n, 3)
        found = (_sides(nn.functional.pad(alone, (0, 0, 1, 1))) * weights).sum(-1)
        return Prediction(nn.functional.pad(found, (0, 0, 1, 0)), None)

    def _alone(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return what the network says of each interval by itself, (B, T - 1, n)."""
        # slices, since the sizes of a split would be fixed in an export
        starts = range(0, int(motion.shape[1]) - 1, AT_A_TIME)
        found = [self._neighbours(motion[:, k : k + AT_A_TIME + 1]) for k in starts]
        none = self.target_std.new_zeros(len(motion), 0, self.n)
        return torch.cat([none, *found], 1) * self.target_std / self.lasting(time)[:, 1:]

    def _neighbours(self, film: Tensor) -> Tensor:
        """Return what moved between pictures (B, T, F) and the next ones, (B, T - 1, n)."""
        number = torch.arange(film.shape[1], device=film.device)
        pictures = self.pictures(film[..., :-1].unflatten(2, (*self.meta.frame, 3)))
        return self.displacement(
            pictures, film[:, -1, -1].long(), torch.stack([number[:-1], number[1:]], 1)
        )

    @torch.inference_mode()
    def calibrate(self, valid: Iterable[Windows]) -> None:
        """Fit the weights of neighbouring intervals."""
        square = torch.zeros(self.n, 3, 3, dtype=torch.float64, device=self.steady.device)
        likeness = square[..., 0].clone()
        for known in valid:
            sides = _sides(self._alone(*self._own(known.motion, known.time)))[0].double()
            action = known.action[0, 2:-1, : self.n].double()
            for beside in (sides, sides.flip(2)):
                square += torch.einsum("tni,tnj->nij", beside, beside)
                likeness += torch.einsum("tni,tn->ni", beside, action)
        size = square.diagonal(0, 1, 2).mean(1)
        if not size.all():  # too short recordings, or a network that has learned nothing
            return
        square += RIDGE * size[:, None, None] * torch.eye(3).to(square)
        for case in range(4):
            part = slice(1 - case // 2, 2 + case % 2)
            weights = torch.linalg.solve(square[:, part, part], likeness[:, part])
            self.steady[case] = 0.0
            self.steady[case, :, part] = weights.to(self.dtype)

    def _own(self, motion: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return pixels as they are: bytes of a long video fit where their floats would not."""
        return motion, (time - time[..., -1:]).to(self.dtype)

    def standardise(self, train: Windows) -> None:
        """Take mean and spread of colours, and the size of what moves, from the training data.

        Its mean stays zero: a film that runs backwards has the opposite one.
        """
        chosen = torch.linspace(0, train.size - 1, min(COUNTED, train.size)).long()
        colours = (
            train.motion[chosen.to(train.motion.device), -1, :-1].reshape(-1, 3).to(self.dtype)
        )
        action = train.action[..., : self.n]
        moved = (action * self.lasting(train.time))[:, 1:].flatten(0, 1)
        pixel, target = colours.std(0, correction=0), moved.square().mean(0).sqrt()
        self.pixel_mean.copy_(colours.mean(0))
        for name, spread in (("pixel", pixel), ("target", target)):
            spread = torch.where(spread > 1e-9, spread, torch.ones_like(spread))
            getattr(self, f"{name}_std").copy_(spread)

    def input_stats(self) -> tuple[Tensor, Tensor]:
        """Return mean and spread (width,) of the pixels; the verb is class 0."""
        count, none = (self.width - 1) // 3, torch.zeros(1, device=self.pixel_mean.device)
        both = (torch.cat([x.repeat(count), none]) for x in (self.pixel_mean, self.pixel_std))
        mean, std = both
        return mean, std

    def target(self, motion: Tensor, action: Tensor) -> Tensor:
        """Return what the family models: the action, of which pictures and places are no part."""
        return action[..., : self.n]

    def action(self, motion: Tensor, target: Tensor) -> Tensor:
        """Undo `target`."""
        return target


def _sides(alone: Tensor) -> Tensor:
    """Return what comes before, is and comes after of (B, T, n), (B, T - 2, n, 3)."""
    return torch.stack([alone[:, :-2], alone[:, 1:-1], alone[:, 2:]], -1)
