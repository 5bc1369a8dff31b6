"""Archives and batches, for the pipeline."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
