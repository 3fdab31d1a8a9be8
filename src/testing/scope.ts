/** A test, or anything else that calls back at its end: the `t` of node:test, which has `after`, or that of tap, which has `teardown`. */
export type TestScope = { after(run: () => unknown): unknown } | { teardown(run: () => unknown): unknown }

/** Calls a function at the end of a test. */
export function atEnd(t: TestScope, run: () => unknown): void {
  if ('teardown' in t) t.teardown(run)
  else t.after(run)
}
