import { Code } from '@docmesh/rpc'
import { expect, it } from 'vitest'
import { storageError } from './blobs.ts'

const fault = (code: string): Error => Object.assign(new Error('write failed'), { code })

it('says of a full disk that there is no room, and that it is no overload', () => {
  for (const code of ['ENOSPC', 'EDQUOT'])
    expect(storageError(fault(code))).toMatchObject({
      code: Code.RESOURCE_EXHAUSTED,
      reason: 'STORAGE_FULL',
      options: { quota: { subject: 'blob store' } },
    })
})

it('says of any other fault of the disk that the storage is not available', () => {
  expect(storageError(fault('EROFS'))).toMatchObject({
    code: Code.UNAVAILABLE,
    reason: 'STORAGE_UNAVAILABLE',
    message: 'The blob store cannot write (EROFS).',
  })
})
