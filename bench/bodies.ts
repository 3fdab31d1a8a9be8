// What reading and changing bodies costs: runs the benchmark of each feature, one after the other, with the Node.js flags
// of a gateway. `npm run bench:bodies`, or `npm run bench:bodies -- xml 400` for one of them and its arguments.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { NODE_FLAGS } from '../src/process/node-flags.ts'

const BENCHMARKS: readonly (readonly [title: string, file: string])[] = [
  ['Aggregation: three legs beside three proxied requests', 'aggregate.ts'],
  ['Cache: hits beside proxied requests, and nginx', 'cache.ts'],
  ['Compression: 10 KB of JSON beside node:zlib', 'compress.ts'],
  ['Validation: 10 KB of JSON beside JSON.parse', 'validate.ts'],
  ['XML: 100 KB beside the parser alone', 'xml.ts'],
  ['Metrics and tracing', 'tracing.ts']
]

/** Runs all benchmarks of bodies, or the one of a name with arguments, and prints what each prints. */
export async function measureBodies(name?: string, args: readonly string[] = []): Promise<void> {
  for (const [title, file] of BENCHMARKS) {
    if (name !== undefined && file !== `${name}.ts`) continue
    console.log(`\n${title}`)
    const path = fileURLToPath(new URL(file, import.meta.url))
    const child = spawn(process.execPath, [...NODE_FLAGS, '--expose-gc', path, ...args], { stdio: 'inherit' })
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) console.log(`(ended with ${code})`)
  }
}

if (import.meta.main) await measureBodies(process.argv[2], process.argv.slice(3))
