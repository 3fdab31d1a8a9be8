import { atEnd, type TestScope } from '../scope.ts'

/** The number of each kind of thing that is open in a process. */
export type HandleCounts = ReadonlyMap<string, number>

/** Counts what is open in this process. */
export interface HandleWatch {
  count(): HandleCounts
  /** Returns the kinds of which there are more than before, with how many more. */
  grownSince(before: HandleCounts): string[]
}

/** Counts sockets, watchers, timers, intervals and listeners of this process until the end of a test; of intervals those that start from now on. */
export function watchHandles(t: TestScope): HandleWatch {
  const { setInterval, clearInterval, clearTimeout } = globalThis
  const intervals = new Set<unknown>()
  // Node.js does not count timers that don't keep the process alive.
  const counted = ((...args: Parameters<typeof setInterval>) => {
    const timer = setInterval(...args)
    intervals.add(timer)
    return timer
  }) as typeof setInterval
  const cleared =
    (clear: typeof clearInterval): typeof clearInterval =>
    (timer) => {
      intervals.delete(timer)
      clear(timer)
    }
  Object.assign(globalThis, {
    setInterval: counted,
    clearInterval: cleared(clearInterval),
    clearTimeout: cleared(clearTimeout)
  })
  atEnd(t, () => Object.assign(globalThis, { setInterval, clearInterval, clearTimeout }))
  const count = (): Map<string, number> => {
    const counts = new Map([['Interval', intervals.size]])
    for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1)
    for (const event of process.eventNames())
      counts.set(`process.on("${String(event)}")`, process.listenerCount(event))
    return counts
  }
  return {
    count,
    grownSince: (before) =>
      [...count()]
        .map(([kind, n]) => [kind, n - (before.get(kind) ?? 0)] as const)
        .filter(([, more]) => more > 0)
        .map(([kind, more]) => `${kind} (${more} more)`)
  }
}
