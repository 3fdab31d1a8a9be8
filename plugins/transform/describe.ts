import { type Description, describeRefusal } from '../../src/kit/index.ts'
import { BodyTooLarge } from '../../src/lib/refusals.ts'
import { BodyInvalid, MediaUnsupported, ResponseInvalid } from './errors.ts'
import { partOf, type TransformOptions } from './options.ts'

/** Describes the errors for bodies that can't be changed. */
export const describes = (options: TransformOptions): Description => ({
  refusals: [
    ...(partOf(options, 'request') === undefined
      ? []
      : [BodyInvalid, BodyTooLarge, MediaUnsupported].map((each) =>
          describeRefusal(each, { onlyFor: 'bodies' })
        )),
    ...(partOf(options, 'response') === undefined ? [] : [describeRefusal(ResponseInvalid)])
  ]
})
