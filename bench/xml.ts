// What reading XML costs beside the parser alone: a document of 100 KB, as a ratio. `node bench/xml.ts [rounds]`
import { SaxesParser } from 'saxes'
import { compileFormat } from '../src/lib/body/format.ts'

const ROUNDS = Number(process.argv[2] ?? 200)
const SIZE = 100 * 1024

const item = (index: number): string => `
  <item id="${index}" available="true">
    <name>Blue &amp; white cup ${index}</name>
    <price currency="EUR">${index}.90</price>
    <tags><tag>kitchen</tag><tag>gift</tag></tags>
    <text><![CDATA[Holds <b>0.3 l</b>.]]></text>
  </item>`

function documentOf(size: number): Buffer {
  let items = ''
  for (let index = 0; items.length < size; index++) items += item(index)
  return Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?>\n<s:shop xmlns:s="https://shop.example/">${items}\n</s:shop>`
  )
}

const ignore = (): void => {}

function parseAlone(bytes: Buffer): void {
  const parser = new SaxesParser({ position: false })
  for (const event of ['opentag', 'closetag', 'attribute', 'text', 'cdata'] as const) parser.on(event, ignore)
  parser.write(bytes.toString()).close()
}

const { read } = compileFormat('xml')
const bytes = documentOf(SIZE)

function timeOf(task: () => void): number {
  const start = process.hrtime.bigint()
  task()
  return Number(process.hrtime.bigint() - start) / 1e6
}

// Both in turn, and the lowest of each: other work on the machine only adds to it.
const alone: number[] = []
const whole: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  alone.push(timeOf(() => parseAlone(bytes)))
  whole.push(timeOf(() => read(bytes, undefined, bytes.length)))
}

const median = (times: readonly number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0
const report = (what: string, times: readonly number[]): string =>
  `${what.padEnd(16)} lowest ${Math.min(...times).toFixed(2)} ms, median ${median(times).toFixed(2)} ms`

process.stdout.write(
  `${report('saxes alone', alone)}\n${report('XML to a value', whole)}\n` +
    `ratio: lowest ${(Math.min(...whole) / Math.min(...alone)).toFixed(2)}, median ${(median(whole) / median(alone)).toFixed(2)}\n`
)
