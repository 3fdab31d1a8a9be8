import type { StageFactory } from '../../src/kit/index.ts'
import { stringifyJson } from '../../src/lib/body/json.ts'
import { mediaKindOf } from '../../src/lib/body/media-kind.ts'
import { type ChangeValue, makeValueStage, valueStageOf } from '../../src/lib/body/value-stage.ts'
import { size } from '../../src/lib/units.ts'
import { compileChange, NotChangeable, readJson } from './change.ts'
import { ResponseInvalid } from './errors.ts'
import type { PartOptions } from './options.ts'

/** Compiles the stage that changes response bodies; what can't be changed is never passed on. */
export function changeResponses(options: PartOptions): StageFactory {
  const { maxBody: maxSize, otherwise } = options
  const maxBody = size(maxSize)
  const change = compileChange(options, maxBody)
  const valueStage = {
    maxBody,
    read: (bytes: Buffer) => orRefused(() => readJson(bytes)),
    write: (value: unknown) => Buffer.from(stringifyJson(value)),
    refuse: (reason: string) => new ResponseInvalid(reason)
  }
  return function changeResponse(head, request) {
    // Nothing was asked for in parts, and what is to be left out may stand in one.
    if (head.hasBody && head.status === 206) throw new ResponseInvalid('it is only a part')
    const changeOne: ChangeValue = (value) => orRefused(() => change(value, request))
    const before = valueStageOf(head)
    if (before !== undefined) {
      before.addChange(changeOne)
      return undefined
    }
    const kind = mediaKindOf(head.get('content-type'))
    if (kind === 'json') {
      const stage = makeValueStage(head, request, valueStage)
      stage?.addChange(changeOne)
      return stage
    }
    if (head.hasBody && (kind === 'unclear' || otherwise === 'reject'))
      throw new ResponseInvalid('its media type is not JSON')
    return undefined
  }
}

function orRefused(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    throw error instanceof NotChangeable ? new ResponseInvalid(error.message) : error
  }
}
