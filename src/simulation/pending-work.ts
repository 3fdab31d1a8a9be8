import { type AsyncHook, createHook } from 'node:async_hooks'

// Files and names of hosts; without a thread there is no such resource.
const REQUEST = /^(?:FS|GETADDRINFO|GETNAMEINFO)REQ/

// A worker (a password hash) is waited for until it exits, but not one that stays.
const MAX_WORKER_MS = 5000

/** A resource that works in a thread once a method is called. */
interface Worker {
  /** Of a compressor. */
  write?(...args: unknown[]): unknown
  /** Of a hash, a signature or a key; returns a list where it has done its work at once. */
  run?(...args: unknown[]): unknown
}

/** Counts what threads do for the process, which `process.getActiveResourcesInfo` does not report. */
export class PendingWork {
  readonly #pending = new Map<number, number>()
  readonly #hook: AsyncHook

  constructor() {
    const add = (id: number): void => void this.#pending.set(id, (this.#pending.get(id) ?? 0) + 1)
    const remove = (id: number): void => {
      const left = (this.#pending.get(id) ?? 0) - 1
      if (left > 0) this.#pending.set(id, left)
      else this.#pending.delete(id)
    }
    const options = {
      // Following promises would take twice the time; Node.js 24.13 does it all the same.
      trackPromises: false,
      init(id: number, type: string, _trigger: number, resource: Worker) {
        if (REQUEST.test(type)) add(id)
        else if (type === 'WORKER') {
          add(id)
          setTimeout(remove, MAX_WORKER_MS, id).unref()
        } else if (type === 'ZLIB') afterCall(resource, 'write', () => add(id))
        else if (type.endsWith('REQUEST'))
          afterCall(resource, 'run', (result) => {
            if (!Array.isArray(result)) add(id)
          })
      },
      after: remove,
      destroy: (id: number) => void this.#pending.delete(id)
    }
    this.#hook = createHook(options).enable()
  }

  /** Whether a thread works. */
  get isWorking(): boolean {
    return this.#pending.size > 0
  }

  /** Stops counting. */
  close(): void {
    this.#hook.disable()
    this.#pending.clear()
  }
}

/** Calls a function with the result of each call of a method of a resource, which never completes before it returns. */
function afterCall(resource: Worker, name: 'write' | 'run', onResult: (result: unknown) => void): void {
  const method = resource[name]
  if (method === undefined) return
  resource[name] = (...args) => {
    const result = method.apply(resource, args)
    onResult(result)
    return result
  }
}
