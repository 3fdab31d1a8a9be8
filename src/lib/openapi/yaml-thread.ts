import { Worker } from 'node:worker_threads'

/** A YAML text as JSON, or what is wrong with it and where, counted from 1. */
export type ReadYaml =
  | { readonly json: string }
  | { readonly error: string; readonly line?: number; readonly column?: number }

const MAX_PARSE_TIME = 30_000

// js-yaml takes a fifth of the time that the YAML parser of the config takes, which knows positions.
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads')
import(workerData.parser).then(({ load, default: all, CORE_SCHEMA }) => {
  const value = (load ?? all.load)(workerData.text, { schema: CORE_SCHEMA ?? all.CORE_SCHEMA })
  parentPort.postMessage({ json: JSON.stringify(value ?? null) })
}).catch((error) => {
  const { reason, mark, message } = error
  parentPort.postMessage({
    error: String(reason ?? message ?? error).split('\\n', 1)[0],
    ...(mark === undefined ? {} : { line: mark.line + 1, column: mark.column + 1 })
  })
})
`

/** Reads YAML in a thread of its own, since a document takes longer than requests should wait. */
export function yamlToJson(text: string): Promise<ReadYaml> {
  return new Promise((resolve) => {
    const worker = new Worker(PROGRAM, {
      eval: true,
      execArgv: [],
      workerData: { text, parser: import.meta.resolve('js-yaml') },
      resourceLimits: { maxOldGenerationSizeMb: 512 }
    })
    const timer = setTimeout(() => settle({ error: 'it takes too long to read' }), MAX_PARSE_TIME)
    const settle = (read: ReadYaml): void => {
      clearTimeout(timer)
      void worker.terminate()
      resolve(read)
    }
    worker.once('message', settle)
    worker.once('error', ({ message }: Error) => settle({ error: message }))
  })
}
