const ROW = 26
const LABELS = 250
const BARS = 420

/** What one contender did under one workload. */
export interface Result {
  readonly name: string
  readonly workload: string
  readonly cpuPerRequest: number
  readonly perSecond: number
  readonly p50: string
  readonly p99: string
  readonly megabytes: number
}

/** Draws a bar for each contender: CPU microseconds per request, shorter is better. */
export function chart(results: readonly Pick<Result, 'name' | 'cpuPerRequest'>[]): string {
  const most = Math.max(...results.map(({ cpuPerRequest }) => cpuPerRequest))
  const rows = results.map(({ name, cpuPerRequest }, i) => {
    const width = ((cpuPerRequest / most) * BARS).toFixed(1)
    const y = 40 + i * ROW
    return `  <text x="${LABELS - 10}" y="${y + 14}" text-anchor="end">${name}</text>
  <rect x="${LABELS}" y="${y}" width="${width}" height="18" rx="2" class="${name.startsWith('Sallyport') ? 'ours' : 'other'}"/>
  <text x="${LABELS + Number(width) + 6}" y="${y + 14}">${cpuPerRequest}</text>`
  })
  const height = 50 + results.length * ROW
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 ${height}" width="760" height="${height}" role="img" aria-label="CPU microseconds per request of each gateway">
  <style>
    svg { background: #fff }
    text { font: 13px system-ui, sans-serif; fill: #222 }
    .ours { fill: #1f6feb }
    .other { fill: #b6bec9 }
  </style>
  <text x="${LABELS}" y="22">CPU microseconds per request (1 KB answers), less is better</text>
${rows.join('\n')}
</svg>
`
}
