"""Base class of the video families: from consecutive images to the actions between them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from invdyn_ros.data.windows import InputType, Windows
from invdyn_ros.models.augmentation import Clips, augment
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.model_metadata import ModelMetadata

IMAGES_PER_ACTION = 2  # an action lies between two consecutive images
CHUNK_SIZE = 128  # image pairs per pass, to bound memory
RIDGE = 1e-3  # relative to the mean square of the predictions, of the smoothing weights
RATE_UNITS = ("rad/s",)  # units of actions that are velocities; others are displacements
NUM_STATISTICS_IMAGES = 2000  # images for mean and standard deviation


class VideoModel(InverseDynamics):
    """A family that predicts the action between two images in `pair_displacement`.

    Its input at each time is `Trajectory.pixels`: the image row by row, and the verb. An error in
    one image changes the predictions before and after it by opposite amounts, and velocities are
    smooth. Therefore an action is a weighted sum of the network's predictions for its own interval
    and for the neighbouring ones: in a recording for both neighbours, live for the previous one
    only. The weights of each joint minimise the squared error on validation recordings, forwards
    and reversed in time (a Wiener filter).
    """

    input_type: ClassVar[InputType] = "pixels"
    pixel_mean: Tensor  # (3,) of 0 to 255
    pixel_std: Tensor  # (3,)
    # (4, n, 3) weights of the previous, the own and the next interval; the first index is
    # 2 * (has a previous interval) + (has a next interval)
    smoothing_weights: Tensor

    def __init__(self, meta: ModelMetadata) -> None:
        """Create an untrained model of images of the size in `meta`.

        Raises:
            ValueError: the data have no images.
        """
        if len(meta.image_size) != 2:
            raise ValueError(
                f"family {meta.family} needs images and the data have none; record them with "
                "'invdyn collect video' or 'invdyn collect rendered-video'"
            )
        super().__init__(meta)
        self.register_buffer("pixel_mean", torch.zeros(3, dtype=self.dtype))
        self.register_buffer("pixel_std", torch.ones(3, dtype=self.dtype))
        identity = torch.tensor([0.0, 1.0, 0.0], dtype=self.dtype)
        self.register_buffer("smoothing_weights", identity.repeat(4, self.n, 1))

    @abstractmethod
    def pair_displacement(self, before: Tensor, after: Tensor, verb: Tensor) -> Tensor:
        """Return the standardised displacement (N, n) between standardised images.

        Args:
            before: (N, 3, H, W).
            after: (N, 3, H, W).
            verb: (N,) class of the narrated verb, or NO_VERB.
        """

    @property
    def input_dim(self) -> int:
        """Number of inputs per frame: the pixels and the verb."""
        height, width = self.meta.image_size
        return 3 * height * width + 1

    @property
    def n_obs_steps(self) -> int:
        """Number of images that a live prediction depends on."""
        return IMAGES_PER_ACTION + 1

    @property
    def window_size(self) -> int:
        """Number of images of a training window."""
        return IMAGES_PER_ACTION

    @property
    def stride(self) -> int:
        """Images from the start of a training window to that of the next; they share one image."""
        return self.window_size - 1

    @property
    def warmup_frames(self) -> int:
        """Images at the start without a prediction: an action needs a previous image."""
        return IMAGES_PER_ACTION - 1

    def normalise_images(self, images: Tensor) -> Tensor:
        """Return standardised images (N, T, 3, H, W) of images (N, T, H, W, 3), 0 to 255."""
        normalised = (images.to(self.dtype) - self.pixel_mean) / self.pixel_std
        return normalised.permute(0, 1, 4, 2, 3).contiguous()

    def clip_displacement(self, clips: Tensor, verb: Tensor, pairs: Tensor) -> Tensor:
        """Return the standardised displacement (N, P, n) between images of clips.

        Args:
            clips: (N, T, 3, H, W), standardised.
            verb: (N,) class of the narrated verb, or NO_VERB.
            pairs: (P, 2) indices of the first and the second image.
        """
        before, after = (clips[:, index].flatten(0, 1) for index in pairs.T)
        displacement = self.pair_displacement(before, after, verb.repeat_interleave(len(pairs)))
        return displacement.unflatten(0, (-1, len(pairs)))  # -1: an export leaves N open

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error of the displacements, in units of their variance.

        In training the pairs are any two images of a window, otherwise consecutive ones. The
        target of images farther apart is the sum of the displacements between them.

        Args:
            motion: pixels (N, T, input_dim).
            time: (N, T) [s].
            action: (N, T, n + 2 L), with L keypoint labels.
        """
        displacement = (
            action[:, 1:, : self.n] * self.interval_duration(time)[:, 1:]
        )  # (N, T - 1, n)
        labels = action[..., self.n :]  # (N, T, 2 L)
        keypoints = labels.reshape(*labels.shape[:2], labels.shape[2] // 2, 2)
        clips = Clips(
            motion[..., :-1].unflatten(2, (*self.meta.image_size, 3)), displacement, keypoints
        )
        index = torch.arange(motion.shape[1], device=motion.device)
        if self.training:
            clips = augment(clips, self.meta.joint_names)
            pairs = torch.combinations(index)
        else:
            pairs = torch.stack([index[:-1], index[1:]], 1)
        steps = clips.action / self.target_std
        position = nn.functional.pad(steps, (0, 0, 1, 0)).cumsum(1)  # (N, T, n)
        target = position[:, pairs[:, 1]] - position[:, pairs[:, 0]]
        batch = clips.images, motion[:, -1, -1].long(), target, clips.keypoints
        parts = zip(*(x.split(CHUNK_SIZE) for x in batch), strict=True)
        losses = [
            self.displacement_loss(self.normalise_images(images), verbs, pairs, targets, points)
            * len(images)
            for images, verbs, targets, points in parts
        ]
        return torch.stack(losses).sum() / len(motion)

    def displacement_loss(
        self, clips: Tensor, verb: Tensor, pairs: Tensor, target: Tensor, keypoints: Tensor
    ) -> Tensor:
        """Return the mean squared error of the displacements, plus other training losses.

        Args:
            clips: (N, T, 3, H, W), standardised.
            verb: (N,) class of the narrated verb, or NO_VERB.
            pairs: (P, 2) indices of the first and the second image.
            target: (N, P, n) displacements, standardised.
            keypoints: (N, T, L, 2) labels, in fractions of the image size.
        """
        return (self.clip_displacement(clips, verb, pairs) - target).square().mean()

    def interval_duration(self, time: Tensor) -> Tensor:
        """Return the duration (N, T, 1) of each action, relative to the data's interval.

        It is 1 for displacements, and for the first image.
        """
        step = (time[:, 1:] - time[:, :-1]) * self.meta.rate
        if self.meta.action_unit not in RATE_UNITS:
            step = 0 * step + 1
        return torch.cat([0 * time[:, :1] + 1, step], 1).unsqueeze(2)

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; that of the first image is zero."""
        predictions = self._predict_intervals(motion, time)
        index = torch.arange(predictions.shape[1], device=predictions.device)
        weights = self.smoothing_weights[
            2 * (index > 0) + (index < predictions.shape[1] - 1)
        ]  # (T - 1, n, 3)
        smoothed = (_with_neighbours(nn.functional.pad(predictions, (0, 0, 1, 1))) * weights).sum(
            -1
        )
        return Prediction(nn.functional.pad(smoothed, (0, 0, 1, 0)), None)

    def _predict_intervals(self, motion: Tensor, time: Tensor) -> Tensor:
        """Return the network's action for each interval alone, (B, T - 1, n)."""
        # slices, since the sizes of a split would be fixed in an export
        starts = range(0, int(motion.shape[1]) - 1, CHUNK_SIZE)
        parts = [
            self._consecutive_displacements(motion[:, k : k + CHUNK_SIZE + 1]) for k in starts
        ]
        empty = self.target_std.new_zeros(len(motion), 0, self.n)
        return (
            torch.cat([empty, *parts], 1) * self.target_std / self.interval_duration(time)[:, 1:]
        )

    def _consecutive_displacements(self, clip: Tensor) -> Tensor:
        """Return the displacements (B, T - 1, n) between the images of a clip (B, T, F)."""
        index = torch.arange(clip.shape[1], device=clip.device)
        images = self.normalise_images(clip[..., :-1].unflatten(2, (*self.meta.image_size, 3)))
        return self.clip_displacement(
            images, clip[:, -1, -1].long(), torch.stack([index[:-1], index[1:]], 1)
        )

    @torch.inference_mode()
    def calibrate(self, val: Iterable[Windows]) -> None:
        """Fit the smoothing weights.

        Args:
            val: recordings, one window each.
        """
        gram = torch.zeros(self.n, 3, 3, dtype=torch.float64, device=self.smoothing_weights.device)
        moment = gram[..., 0].clone()
        for recording in val:
            neighbours = _with_neighbours(
                self._predict_intervals(*self._prepare_inputs(recording.motion, recording.time))
            )[0].double()
            action = recording.action[0, 2:-1, : self.n].double()
            for direction in (neighbours, neighbours.flip(2)):
                gram += torch.einsum("tni,tnj->nij", direction, direction)
                moment += torch.einsum("tni,tn->ni", direction, action)
        power = gram.diagonal(0, 1, 2).mean(1)
        if not power.all():  # the recordings are too short, or all predictions are zero
            return
        gram += RIDGE * power[:, None, None] * torch.eye(3).to(gram)
        for case in range(4):
            part = slice(1 - case // 2, 2 + case % 2)
            weights = torch.linalg.solve(gram[:, part, part], moment[:, part])
            self.smoothing_weights[case] = 0.0
            self.smoothing_weights[case, :, part] = weights.to(self.dtype)

    def _prepare_inputs(self, motion: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Keep pixels as bytes, since a long video does not fit in memory as floats."""
        return motion, (time - time[..., -1:]).to(self.dtype)

    def standardise(self, train: Windows) -> None:
        """Compute mean and standard deviation of the colours, and the size of displacements.

        The mean displacement stays zero, as reversing a clip in time negates it.
        """
        index = torch.linspace(0, train.size - 1, min(NUM_STATISTICS_IMAGES, train.size)).long()
        colours = (
            train.motion[index.to(train.motion.device), -1, :-1].reshape(-1, 3).to(self.dtype)
        )
        action = train.action[..., : self.n]
        displacement = (action * self.interval_duration(train.time))[:, 1:].flatten(0, 1)
        pixel, target = colours.std(0, correction=0), displacement.square().mean(0).sqrt()
        self.pixel_mean.copy_(colours.mean(0))
        for name, std in (("pixel", pixel), ("target", target)):
            std = torch.where(std > 1e-9, std, torch.ones_like(std))
            getattr(self, f"{name}_std").copy_(std)

    def input_stats(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (input_dim,) of the pixels; the verb is class 0."""
        count, verb = (self.input_dim - 1) // 3, torch.zeros(1, device=self.pixel_mean.device)
        mean, std = (torch.cat([x.repeat(count), verb]) for x in (self.pixel_mean, self.pixel_std))
        return mean, std

    def target(self, motion: Tensor, action: Tensor) -> Tensor:
        """Return the action without the keypoint labels."""
        return action[..., : self.n]

    def action(self, motion: Tensor, target: Tensor) -> Tensor:
        """Invert `target`."""
        return target


def _with_neighbours(predictions: Tensor) -> Tensor:
    """Return each inner prediction of (B, T, n) with its neighbours, (B, T - 2, n, 3)."""
    return torch.stack([predictions[:, :-2], predictions[:, 1:-1], predictions[:, 2:]], -1)
