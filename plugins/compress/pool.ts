import type { BufferBudget } from '../../src/lib/buffers.ts'

// argon2, files and DNS share the four threads of libuv's pool.
const MAX_AT_WORK = 2

// More streams of slow clients would take the memory that bodies of requests need.
const MAX_MEMORY = 64 * 1024 * 1024

let atWork = 0
let memory = 0
const waiting: (() => void)[] = []

/** Returns whether as many streams as may are at work in the thread pool of the process. */
export const isPoolBusy = (): boolean => atWork >= MAX_AT_WORK

/** Starts a job in the thread pool, or when an earlier one is done; it has to call `leavePool` once. */
export function enterPool(job: () => void): void {
  if (atWork >= MAX_AT_WORK) waiting.push(job)
  else {
    atWork++
    job()
  }
}

/** Ends a job, and starts the one that has waited longest. */
export function leavePool(): void {
  const next = waiting.shift()
  if (next === undefined) atWork--
  else next()
}

/** Reserves the memory of a stream; returns false where streams, or the bodies of the process, already take too much. */
export function reserveMemory(bytes: number, budget: BufferBudget): boolean {
  if (memory + bytes > MAX_MEMORY || !budget.reserve(bytes)) return false
  memory += bytes
  return true
}

/** Releases memory that was reserved. */
export function releaseMemory(bytes: number, budget: BufferBudget): void {
  memory -= bytes
  budget.release(bytes)
}
