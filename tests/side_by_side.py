"""Threads for tests: all at once, and their exceptions are not lost."""

import threading


def in_threads(n, f):
    """The results of f(0), ..., f(n - 1), each in a thread of its own; they start together."""
    errors, results = [], [None] * n
    start = threading.Barrier(n)

    def work(k):
        try:
            start.wait()
            results[k] = f(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results
