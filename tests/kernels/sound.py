# SPDX-FileCopyrightText: The physicsnemo_fs developers
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's checks of custom operators."""

import multiprocessing
import traceback

import torch


def opcheck(operator, arguments):
    """Run ``torch.library.opcheck`` in a fork: it starts autograd's threads, after which no test could fork."""
    if torch.cuda.is_available():  # no test forks there
        torch.library.opcheck(operator, arguments)
        return
    context = multiprocessing.get_context("fork")
    found, failure = context.Pipe(duplex=False)

    def check():
        # autograd's threads, several at once, otherwise renew the pool that no fork keeps, and torch may abort
        torch.set_num_threads(torch.get_num_threads())
        try:
            torch.library.opcheck(operator, arguments)
            failure.send(None)
        except Exception:
            failure.send(traceback.format_exc())

    child = context.Process(target=check)
    child.start()
    failure.close()  # the pipe ends with the child
    try:
        message = found.recv() if found.poll(60) else "the check of the operator hung"
    except EOFError:
        child.join()
        message = f"the check of the operator died: {child.exitcode}"
    child.kill()
    child.join()
    assert message is None, message
