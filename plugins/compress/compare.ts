import type { Comparison } from '../../src/kit/concern.ts'

const OTHERWISE = { class: 'exposure', message: 'compresses other responses' } as const

/** How `diff` compares two resolved options: the length of a compressed body tells something of what it holds. */
export const comparison: Comparison = {
  options: {
    encodings: { class: 'exposure', message: 'sends responses in other encodings' },
    levels: 'a response is the same after it is decompressed',
    minSize: OTHERWISE,
    types: OTHERWISE,
    streams: OTHERWISE
  },
  onOff: { class: 'exposure', message: 'compresses responses, or no longer' }
}
