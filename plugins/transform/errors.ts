import { createError } from '../../src/kit/index.ts'

/** The request body is not what can be changed. */
export const BodyInvalid = createError<[string]>('SP_ERR_TRANSFORM_BODY', 'Invalid request body: %s', 400)
/** The request body has a media type, a charset or a content coding that can't be changed. */
export const MediaUnsupported = createError<[string]>(
  'SP_ERR_TRANSFORM_MEDIA',
  'Unsupported request body: %s',
  415
)
/** The response body can't be changed, so it may not be passed on. */
export const ResponseInvalid = createError<[string]>(
  'SP_ERR_TRANSFORM_RESPONSE',
  'Bad gateway: the response of the upstream cannot be transformed: %s',
  502
)
