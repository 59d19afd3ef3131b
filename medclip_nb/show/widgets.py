"""Things to move and click, on ipywidgets; each has a still form for pages where no kernel runs.

All are reached by Tab and worked by keys, escape the texts they show, and show an error where it happens.
"""

from .prompt_board import Gallery, PromptBoard
from .retrieval_explorer import RetrievalExplorer
from .similarity_hover import SimilarityHover
from .slice_viewer import SliceViewer, Strip

__all__ = ["Gallery", "PromptBoard", "RetrievalExplorer", "SimilarityHover", "SliceViewer", "Strip"]
