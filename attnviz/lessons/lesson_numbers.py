"""Numbers of each lesson: the table of the functions that compute them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attnviz.lessons.context_scenes import context_scenes
from attnviz.lessons.efficiency.cache_scenes import cache_scenes
from attnviz.lessons.efficiency.efficient_scenes import efficient_scenes
from attnviz.lessons.efficiency.hybrid_scenes import hybrid_scenes
from attnviz.lessons.heads.heads_scenes import heads_scenes
from attnviz.lessons.heads.routing_scenes import routing_scenes
from attnviz.lessons.induction_scenes import induction_scenes
from attnviz.lessons.lesson_reader import Lesson
from attnviz.lessons.mask_scenes import mask_scenes
from attnviz.lessons.mixture_scenes import mixture_scenes
from attnviz.lessons.positions.position_scenes import position_scenes
from attnviz.lessons.projection_scenes import projection_scenes
from attnviz.lessons.scaling_scenes import scaling_scenes
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.lessons.similarity_scenes import similarity_scenes
from attnviz.lessons.softmax_scenes import softmax_scenes
from attnviz.lessons.three_models_scenes import three_models_scenes

__all__ = ["LESSON_NUMBERS", "scenes_of"]

LESSON_NUMBERS: Mapping[str, Callable[[LessonInput], Mapping[str, Scene]]] = {
    "cache": cache_scenes,
    "efficient": efficient_scenes,
    "hybrid": hybrid_scenes,
    "induction": induction_scenes,
    "masks": mask_scenes,
    "mixture": mixture_scenes,
    "projections": projection_scenes,
    "scaling": scaling_scenes,
    "similarity": similarity_scenes,
    "context": context_scenes,
    "heads": heads_scenes,
    "positions": position_scenes,
    "routing": routing_scenes,
    "softmax": softmax_scenes,
    "three_models": three_models_scenes,
}
"""By the name of the lesson: returns a scene for the name of each step."""


def scenes_of(lesson: Lesson, given: LessonInput) -> Mapping[str, Scene]:
    """Return the scene of each step.

    Raises:
        InputError: the sentence or the head has not what the lesson shows.
    """
    return LESSON_NUMBERS[lesson.name](given)
