import { type OptionFault, Size, type Static, Type } from '../../src/kit/index.ts'
import { formatFaults, formatProperties } from '../../src/lib/body/format-options.ts'
import { overrideOf } from '../../src/lib/schema.ts'

export const key = 'format'
export const shorthand = 'from'

export const options = Type.Object(
  {
    ...formatProperties,
    maxBody: Size({
      default: '1mb',
      description:
        'The maximum size of a response that is read, also when decoded; beyond it the client gets 502.'
    })
  },
  {
    additionalProperties: false,
    description:
      'The format of responses, and what they are turned into; a text is short for the option "from".',
    examples: [{ from: 'xml', lists: ['shop.item'] }]
  }
)

export const override = overrideOf(options)
export type FormatConcernOptions = Static<typeof options>

export const faults = (options: FormatConcernOptions): OptionFault[] => formatFaults(options, [])
