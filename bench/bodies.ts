// What reading and changing bodies costs: runs the benchmark of each feature, one after the other. `npm run bench:bodies`
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const BENCHMARKS: readonly (readonly [title: string, file: string])[] = [
  ['Aggregation: three legs beside three proxied requests', 'aggregate.ts'],
  ['Cache: hits beside proxied requests, and nginx', 'cache.ts'],
  ['Compression: 10 KB of JSON beside node:zlib', 'compress.ts'],
  ['Validation: 10 KB of JSON beside JSON.parse', 'validate.ts'],
  ['XML: 100 KB beside the parser alone', 'xml.ts'],
  ['Metrics and tracing', 'tracing.ts']
]

/** Runs all benchmarks of bodies, and prints what each prints. */
export async function measureBodies(): Promise<void> {
  for (const [title, file] of BENCHMARKS) {
    console.log(`\n${title}`)
    const path = fileURLToPath(new URL(file, import.meta.url))
    const child = spawn(process.execPath, ['--expose-gc', path], { stdio: 'inherit' })
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) console.log(`(ended with ${code})`)
  }
}

if (import.meta.main) await measureBodies()
