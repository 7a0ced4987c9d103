import logging

from devias.training.quiet import quiet_lightning


def test_lightning_says_everything_once_and_nothing_needless(caplog, capfd):
    own = logging.StreamHandler()
    logging.getLogger("lightning").addHandler(own)
    quiet_lightning()
    quiet_lightning()
    assert logging.getLogger("lightning").handlers == []
    with caplog.at_level(logging.INFO):
        log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
        log.info("try installing [litlogger]")
        log.info("GPU available: False, used: False")
    assert [record.getMessage() for record in caplog.records] == [
        "GPU available: False, used: False"
    ]
    assert "GPU" not in capfd.readouterr().err
