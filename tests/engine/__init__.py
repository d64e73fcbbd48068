import pytest

pytest.register_assert_rewrite("tests.engine.sequences")  # its checks fail with what was compared
