import type { Readable } from 'node:stream'

/** What the primary does with the log of its workers. */
export interface WorkerOutput {
  /** Writes lines that a worker has logged. */
  pass(lines: string): void
  /** Variables that tell workers how to format lines. */
  readonly variables: Readonly<Record<string, string>>
}

const LINE_FEED = 10

/** Passes a worker's log on in whole lines, since several workers write to one log. */
export function passLines(stream: Readable | null, pass: (lines: string) => void): void {
  let partial: Buffer[] = []
  stream?.on('data', (chunk: Buffer) => {
    const end = chunk.lastIndexOf(LINE_FEED) + 1
    if (end > 0) {
      pass(Buffer.concat([...partial, chunk.subarray(0, end)]).toString())
      partial = []
    }
    if (end < chunk.length) partial.push(chunk.subarray(end))
  })
  stream?.on('end', () => {
    if (partial.length > 0) pass(`${Buffer.concat(partial).toString()}\n`)
  })
}
